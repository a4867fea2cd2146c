"""Data at rest and the way in: socket, journal, hot tier, lake, one view over both."""

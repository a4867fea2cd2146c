"""The movers: feed to journal, journal to hot, hot to lake."""

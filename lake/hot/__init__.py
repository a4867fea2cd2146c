"""The hot tier: the last hours and days, in PostgreSQL."""

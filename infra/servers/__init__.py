"""The embedded profile: PostgreSQL and Valkey from wheels, as processes that we manage."""

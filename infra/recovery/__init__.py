"""Backups of a home's PostgreSQL, and the way back to a moment."""

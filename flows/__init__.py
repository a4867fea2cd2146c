"""Scheduled movers: what turns ticks into what one can trust; Prefect lives only here."""

"""Flows as Prefect knows them, one module each, and the list of their schedules."""

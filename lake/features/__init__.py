"""Features of bars at rest: which bars have changed, and the table that holds every version."""

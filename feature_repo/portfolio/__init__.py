"""How assets move together, and how much of each to hold."""

"""What was refused or held back, and what somebody decided about it."""

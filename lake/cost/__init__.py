"""What storage and compute cost, by assumptions that the user edits."""

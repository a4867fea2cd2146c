"""Labels: what came after a row, and from when on that was known."""

"""The definitions, by subject."""

"""Models: how they are checked, trained, explained, compared and kept."""

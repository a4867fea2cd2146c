"""Contracts beyond this tree: their schemas at a registry, and the parts of a new dataset."""

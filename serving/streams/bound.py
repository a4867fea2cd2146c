"""How many entries a stream keeps, so that it takes no more bytes than it may."""

from __future__ import annotations


def entries_kept(bytes_max: int, size: float, least: int, most: int) -> int:
    """Return how many entries of a size in bytes fit, from least to most, both inclusive."""
    return max(least, min(most, int(bytes_max / max(1, size))))

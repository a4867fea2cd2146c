"""Sizes and ages as people read them."""

from __future__ import annotations

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
AGES = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


def bytes_text(count: int) -> str:
    """Return bytes in units of 1000, three digits: 12.3 MB."""
    size = float(count)
    for unit in UNITS:
        if size < 1000 or unit == UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError


def duration_text(seconds: float) -> str:
    """Return a time span in its largest unit: 42 s, 3.5 min, 2 d."""
    for width, unit in AGES:
        if seconds >= width:
            count = seconds / width
            return f"{count:.1f} {unit}" if count < 9.95 and unit != "s" else f"{count:.0f} {unit}"
    return "0 s" if seconds < 0.5 else "1 s"

"""When a day of ticks begins, and how long its processes wait for Redis."""

from __future__ import annotations

START_US = 1_700_006_400_000_000
"""A midnight, UTC."""

PATIENCE_S = 60.0

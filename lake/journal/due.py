"""Which segments of a journal may go once they are proven: by age, or because room is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from lake.journal.segment import Segment, segments

HOUR_US = 3_600_000_000

FILLED_MAX = 0.75
"""Part of the journal's budget past which its oldest segments go before their age."""


def due_segments(
    folder: Path, now_us: int, *, keep_hours: float, bytes_max: int | None = None
) -> Iterator[tuple[Segment, int]]:
    """Yield (segment, its last frame) of those that are due, oldest first; never the newest.

    bytes_max: the budget of a shard's journal; None: age alone counts. For want of room the last
    but one stays too: a restart recalls from it what was said last. What is yielded counts as gone,
    so stop where one stays.
    """
    found = segments(folder)
    sizes = {each.path: each.path.stat().st_size for each in found}
    used = sum(sizes.values())
    horizon_us = now_us - int(keep_hours * HOUR_US)
    for segment, following in pairwise(found):
        crowded = bytes_max is not None and used > bytes_max * FILLED_MAX
        crowded = crowded and following is not found[-1]
        if segment.path.stat().st_mtime_ns // 1000 > horizon_us and not crowded:
            return
        yield segment, following.first_frame - 1
        used -= sizes[segment.path]

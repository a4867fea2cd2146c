"""Which frames a journal's segments still hold: by the headers of blocks, or by whole blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lake.journal import block, segment

Range = tuple[int, int]
"""First and last frame, both inclusive."""


def held(directory: Path, after: int, upto: int, *, whole: bool = False) -> list[Range]:
    """Return the frames within (after, upto] that readers would find, as ascending ranges.

    whole: of blocks whose checksum holds only, which costs reading them.
    """
    found = segment.segments(directory) if directory.is_dir() else []
    spans: list[Range] = []
    for each in found:
        until = min((o.first_frame for o in found if o.number > each.number), default=upto + 1)
        if until <= after + 1 or each.first_frame > upto:
            continue
        for first, last in _spans(each.path, whole=whole):
            low, high = max(first, after + 1), min(last, upto, until - 1)
            if low <= high:
                spans.append((low, high))
    return _merged(sorted(spans))


def missing(ranges: Sequence[Range], after: int, upto: int) -> list[Range]:
    """Return what of (after, upto] ascending, disjoint ranges do not cover."""
    gaps: list[Range] = []
    for first, last in ranges:
        if first > after + 1:
            gaps.append((after + 1, min(first - 1, upto)))
        after = max(after, last)
    if after < upto:
        gaps.append((after + 1, upto))
    return [gap for gap in gaps if gap[0] <= gap[1]]


def _merged(spans: Sequence[Range]) -> list[Range]:
    merged: list[Range] = []
    for first, last in spans:
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


def _spans(path: Path, *, whole: bool) -> Iterator[Range]:
    with path.open("rb") as file:
        end = file.seek(0, 2)
        at = segment.HEADER.size
        while True:
            file.seek(at)
            head = file.read(block.HEADER.size)
            size = block.size_of(head)
            if not size or at + size > end:
                return
            if not whole or block.is_intact(head + file.read(size - len(head))):
                first, count = block.first_and_count(head)
                yield first, first + count - 1
            at += size

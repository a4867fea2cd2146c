"""Put blocks where a journal lost some: the one change that is ever made behind its end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lake.journal import block, segment
from lake.journal.journal import sync_directory

ASIDE_SUFFIX = ".damaged"
"""Of a segment whose place a stand-in took; no reader looks at it, and nothing deletes it."""


def stand_in(directory: Path, shard: int, blocks: Sequence[bytes]) -> None:
    """Write contiguous blocks of frames that no segment holds where readers will look for them.

    The caller holds the journal's lock. A segment is made between its neighbours, or, where there
    is no number left between them, in place of the one that lost the frames: that one's other
    blocks are taken over and it is kept aside.
    """
    first = block.first_and_count(blocks[0])[0]
    end = sum(block.first_and_count(blocks[-1]))
    found = segment.segments(directory)
    before = [each for each in found if each.first_frame <= first]
    after = [each for each in found if each.first_frame >= end]
    low = before[-1] if before else None
    number = low.number + 1 if low else min((each.number for each in after), default=2) - 1
    if low is None or all(each.number != number for each in found):
        _write(directory, shard, number, first, blocks)
        return
    kept = [raw for raw in segment.raw_blocks(low.path) if block.is_intact(raw)]
    ordered = sorted([*kept, *blocks], key=block.first_and_count)
    low.path.rename(low.path.with_suffix(ASIDE_SUFFIX))
    _write(directory, shard, low.number, low.first_frame, ordered)


def _write(directory: Path, shard: int, number: int, first: int, blocks: Sequence[bytes]) -> None:
    path = segment.path_of(directory, number)
    new = path.with_suffix(segment.UNNAMED_SUFFIX)
    with new.open("wb") as file:
        file.write(segment.header(shard, number, first))
        for each in blocks:
            file.write(each)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    sync_directory(directory)

"""Frames of a shard's journal between two of them: what a worker that starts reads again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lake.feeds.codec import Frames
from lake.journal.reader import JournalReader

FRAMES_MAX = 20_000
BYTES_MAX = 8 << 20
"""Frames and bytes read at once."""

RECALLED_MAX = 20_000
"""Frames before one's first whose events are remembered, since they may come again."""


def journal_runs(
    directory: Path, shard: int, after: int, through: int
) -> Iterator[tuple[str, Frames]]:
    """Yield the runs beyond frame `after`, through frame `through` (inclusive), with their feeds.

    Our own control records are left out. Raises Damaged, and Unavailable where the frame after
    `after` is no longer kept.
    """
    reader = JournalReader(directory, shard)
    at = after + 1
    try:
        while at <= through:
            runs = reader.read(at, frames_max=FRAMES_MAX, bytes_max=BYTES_MAX)
            if not runs:
                return
            for run in runs:
                frames = run.frames
                at = frames.last_frame + 1
                if run.control or frames.first_frame > through:
                    continue
                yield run.feed, frames.slice(0, min(len(frames), through + 1 - frames.first_frame))
    finally:
        reader.close()

"""Frames that were acknowledged and are in no store yet: held by the journal, or lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lake.journal.held import held, missing
from lake.journal.reader import JournalReader
from lake.verify.frames_check import FRAMES
from lake.verify.report import Fault

REMEDY = "restore its segments from a copy; there is none: ticklake restore --accept-loss"


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many frames wait to be moved, and the faults: frames that no segment holds."""

    frames: int = 0
    faults: list[Fault] = field(default_factory=list)


def check_waiting(journal: Path | None, stored: Callable[[], Mapping[int, int]]) -> Waiting:
    """Look at what is durable beyond the stored frames; journal: the folder of shards' folders.

    stored: shard -> last frame in the hot tier, asked after the journal has been looked at: what
    was moved meanwhile is neither waiting nor lost.
    """
    if journal is None:
        return Waiting()
    before = stored()
    looks = {int(folder.name.removeprefix("shard-")): folder for folder in journal.glob("shard-*")}
    found = {shard: _look(folder, before.get(shard, 0)) for shard, folder in looks.items()}
    now = stored()
    waiting = 0
    faults = []
    for shard, (durable, ranges) in sorted(found.items()):
        after = now.get(shard, 0)
        waiting += sum(last - max(first, after + 1) + 1 for first, last in ranges if last > after)
        for first, last in missing(ranges, before.get(shard, 0), durable):
            if last > after:
                faults.append(_lost(looks[shard], shard, max(first, after + 1), last))
    return Waiting(waiting, faults)


def _look(folder: Path, after: int) -> tuple[int, list[tuple[int, int]]]:
    """Return the last durable frame, and what the segments hold of those beyond `after`."""
    reader = JournalReader(folder, 0)
    durable = reader.durable()
    reader.close()
    if durable <= after:
        return after, []
    return durable, held(folder, after, durable, whole=True)


def _lost(folder: Path, shard: int, first: int, last: int) -> Fault:
    what = f"shard {shard} frames {first} to {last} lost: journalled, not stored, in no segment"
    count = last - first + 1
    return Fault("journal", FRAMES, str(folder), what, frames_lost=count, remedy=REMEDY)

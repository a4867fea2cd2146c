"""Take parcels of a history into the journal, in order, a flush each.

A parcel that was flushed is durable and will reach hot tier and lake; only then is it `done`, so
whoever made it may note how far it came. What is handed in twice is known by its keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from lake.clock import Clock
from lake.feeds.history import FEED
from lake.ingest import control
from lake.ingest.intake import Intake

BEHIND_FRAMES_MAX = 512
"""Frames that may be durable and not yet in the lake, 4 M rows at most, before the next parcel is
taken: years of history must not fill the journal's disk."""

BEHIND_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Parcel:
    """Frames of the feed `history`, and control records that stand after them.

    done: called once, when all of it is durable.
    """

    frames: Sequence[bytes]
    records: Sequence[tuple[str, control.Control]] = ()
    """Feed that a record concerns, and the record."""

    done: Callable[[], None] = lambda: None


class ParcelsToJournal:
    """Parcels' way into the journal of this process."""

    def __init__(self, parcels: Iterator[Parcel], claims: Sequence[str]) -> None:
        self._parcels = parcels
        self._claims = list(claims)
        self.frames = 0
        self.finished = False

    @property
    def feed(self) -> str:
        """The feed whose codec reads the parcels' frames."""
        return FEED

    def claims(self) -> list[str]:
        """Return what the parcels bring, as claims of a shard."""
        return self._claims

    async def run(self, intake: Intake, clock: Clock, ended: asyncio.Event) -> None:
        """Take parcel by parcel until there is none, or `ended` is set."""
        while not ended.is_set():
            parcel = await asyncio.to_thread(next, self._parcels, None)
            if parcel is None:
                self.finished = True
                return
            await take(parcel, intake, clock, ended)
            self.frames += len(parcel.frames)


async def take(parcel: Parcel, intake: Intake, clock: Clock, ended: asyncio.Event) -> None:
    """Make a parcel durable, once the mover has room for it."""
    while intake.behind() > BEHIND_FRAMES_MAX and not ended.is_set():
        await asyncio.sleep(BEHIND_LOOK_S)
    if parcel.frames:
        intake.add(FEED, control.HISTORY_CONNECTION, list(parcel.frames), clock.now_us())
    for feed, record in parcel.records:
        intake.note(feed, partial(_made, record))
    await intake.flush()
    await asyncio.to_thread(parcel.done)


def _made(record: control.Control) -> control.Control:
    return record

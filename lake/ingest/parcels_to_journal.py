"""Take parcels of a history, or a released event, into the journal, in order, a flush each.

A parcel that was flushed is durable and will reach hot tier and lake; only then is it `done`, so
whoever made it may note how far it came. What is handed in twice is known by its keys; a released
event, which may have none, is looked for in the journal first.
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
from lake.ingest.released import Released, journalled

BEHIND_FRAMES_MAX = 512
"""Frames that may be durable and not yet in the lake, 4 M rows at most, before the next parcel is
taken: years of history must not fill the journal's disk."""

BEHIND_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Parcel:
    """Frames of one feed and connection, and control records that stand after them.

    done: called once, when all of it is durable. since_us: of a released event, when that was
    decided; 0: no released event.
    """

    frames: Sequence[bytes]
    records: Sequence[tuple[str, control.Control]] = ()
    """Feed that a record concerns, and the record."""

    done: Callable[[], None] = lambda: None
    feed: str = FEED
    connection: int = control.HISTORY_CONNECTION
    since_us: int = 0


class ParcelsToJournal:
    """Parcels' way into the journal of this process."""

    def __init__(self, parcels: Iterator[Parcel], claims: Sequence[str], feed: str = FEED) -> None:
        self._parcels = parcels
        self._claims = list(claims)
        self._feed = feed
        self.frames = 0
        self.finished = False

    @property
    def feed(self) -> str:
        """The feed whose codec reads the parcels' frames."""
        return self._feed

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
    """Make a parcel durable, once the mover has room for it, unless it is a released event that the
    journal has: of an earlier try that was killed, durable maybe by recovery alone.
    """
    while intake.behind() > BEHIND_FRAMES_MAX and not ended.is_set():
        await asyncio.sleep(BEHIND_LOOK_S)
    if parcel.since_us and await asyncio.to_thread(_is_held, parcel, intake):
        await asyncio.to_thread(parcel.done)
        return
    if parcel.frames:
        intake.add(parcel.feed, parcel.connection, list(parcel.frames), clock.now_us())
    for feed, record in parcel.records:
        intake.note(feed, partial(_made, record))
    await intake.flush()
    await asyncio.to_thread(parcel.done)


def _is_held(parcel: Parcel, intake: Intake) -> bool:
    released = [Released(parcel.feed, frame) for frame in parcel.frames]
    return all(journalled(*intake.place, each, parcel.since_us) is not None for each in released)


def _made(record: control.Control) -> control.Control:
    return record

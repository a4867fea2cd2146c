"""Gather frames of many connections and make them durable in batches.

Frames of a connection stay in order; a control record stands after every frame that was handed in
before it, of any connection. One flush is under way at a time, in a thread, so that the socket is
read while the disk works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lake.clock import Clock
from lake.durations import Durations
from lake.ingest import control
from lake.journal.journal import Journal

FRAMES_WAITING_MAX = 200_000
"""Frames handed in and not yet durable; past it reading pauses, and the venue's buffer fills."""


@dataclass
class Lane:
    """Frames of one connection since the last flush; recorded: received long ago, by others."""

    feed: str
    connection: int
    recorded: bool = False
    frames: list[bytes] = field(default_factory=list)
    received_us: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Entry:
    feed: str
    connection: int
    frames: list[bytes]
    received_us: list[int]
    recorded: bool = False
    record: Callable[[], control.Control] | None = None
    noted: Callable[[int], None] | None = None


class Intake:
    """The one writer of a shard's journal."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._lanes: list[Lane] = []
        self._sealed: list[_Entry] = []
        self._flushing = asyncio.Lock()
        self.frames_total = 0
        self.bytes_total = 0
        self.taken: dict[str, tuple[int, int]] = {}
        """Feed -> frames and bytes on their way to the disk, or there."""
        self.flush_times = Durations()
        """Of writes and fsyncs of the journal, a batch each."""
        self.lag_ms = 0.0
        self.durable_frame = journal.next_frame - 1
        self.behind: Callable[[], int] = lambda: 0
        """Durable frames that the lake does not hold yet, as the mover last said."""

    def lane(self, feed: str, connection: int, *, recorded: bool = False) -> Lane:
        """Open a lane for a connection, or for a recording: its times are none of our lag."""
        lane = Lane(feed, connection, recorded)
        self._lanes.append(lane)
        return lane

    def add(self, feed: str, connection: int, frames: list[bytes], received_us: int) -> None:
        """Put frames of one time after everything handed in so far."""
        self._seal()
        self._sealed.append(_Entry(feed, connection, frames, [received_us] * len(frames)))

    def note(
        self,
        feed: str,
        record: Callable[[], control.Control],
        noted: Callable[[int], None] | None = None,
    ) -> None:
        """Put a control record after everything handed in so far.

        record is made when it is written; noted is told the number of its frame.
        """
        self._seal()
        self._sealed.append(
            _Entry(feed, control.HISTORY_CONNECTION, [], [], record=record, noted=noted)
        )

    @property
    def place(self) -> tuple[Path, int]:
        """Return the journal's folder, and its shard."""
        return self._journal.directory, self._journal.shard

    def waiting(self) -> int:
        """Return how many frames are not yet on their way to the disk."""
        return sum(len(lane.frames) for lane in self._lanes)

    async def flush(self) -> int:
        """Make all that was handed in durable; return the last durable frame.

        Raises DiskFull or Unavailable; what was not acknowledged stays with the journal.
        """
        async with self._flushing:
            self._seal()
            entries, self._sealed = self._sealed, []
            start_us = self._clock.monotonic_us()
            self.durable_frame = await asyncio.to_thread(self._write, entries)
            if entries:
                self.flush_times.note((self._clock.monotonic_us() - start_us) / 1e6)
            oldest = [e.received_us[0] for e in entries if e.received_us and not e.recorded]
            if oldest:
                self.lag_ms = (self._clock.now_us() - min(oldest)) / 1000
        return self.durable_frame

    def _seal(self) -> None:
        for lane in self._lanes:
            if lane.frames:
                self._sealed.append(
                    _Entry(lane.feed, lane.connection, lane.frames, lane.received_us, lane.recorded)
                )
                lane.frames, lane.received_us = [], []

    def _write(self, entries: list[_Entry]) -> int:
        for entry in entries:
            if entry.record is not None:
                frame = self._journal.append(
                    entry.feed,
                    entry.connection,
                    [control.dump(entry.record())],
                    [self._clock.now_us()],
                    control=True,
                )
                if entry.noted is not None:
                    entry.noted(frame)
                continue
            self._journal.append(entry.feed, entry.connection, entry.frames, entry.received_us)
            self.frames_total += len(entry.frames)
            size = sum(map(len, entry.frames))
            self.bytes_total += size
            frames, before = self.taken.get(entry.feed, (0, 0))
            self.taken[entry.feed] = frames + len(entry.frames), before + size
        return self._journal.flush()

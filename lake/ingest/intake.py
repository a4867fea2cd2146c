"""Gather frames of many connections and make them durable in batches.

Frames of a connection stay in order; a control record stands after every frame that was handed in
before it, of any connection. One flush is under way at a time, in a thread, so that the socket is
read while the disk works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Protocol

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
class Slice:
    """Frames of one connection that came one after another, numbered as the journal will have them.

    first_frame: number of the first; frames and received_us: as long as each other, not empty.
    recorded: received long ago, by others.
    """

    feed: str
    connection: int
    first_frame: int
    frames: list[bytes]
    received_us: list[int]
    recorded: bool = False


class Tap(Protocol):
    """Sees frames before they are durable. Its calls are the reader's own loop: they never wait.

    heard: whether what it is shown goes anywhere, so that soon is better than many at once.
    wanted: what it calls, from any thread, with a frame that somebody waits for to be durable.
    """

    wanted: Callable[[int], None]

    @property
    def heard(self) -> bool:
        """Tell whether anybody waits for frames."""

    def frames(self, given: Slice) -> None:
        """Take frames, once each, by rising number."""

    def durable(self, frame: int) -> None:
        """Learn that every frame up to this one, inclusive, is on the disk."""

    def figures(self) -> Mapping[str, int]:
        """Return what became of the frames so far, by name."""


@dataclass(frozen=True, slots=True)
class _Entry:
    given: Slice
    record: Callable[[], control.Control] | None = None
    noted: Callable[[int], None] | None = None


class Intake:
    """The one writer of a shard's journal.

    A frame has its number when it is sealed, which is when its place among all frames is settled:
    whoever taps the intake knows a frame by the number that it has in journal, hot tier and lake.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._lanes: list[Lane] = []
        self._sealed: list[_Entry] = []
        self._sealed_frames = 0
        self._flushing = asyncio.Lock()
        self._next_frame = journal.next_frame
        self._wanted = -1
        self._called = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.tap: Tap | None = None
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

    def show_to(self, tap: Tap) -> None:
        """Have a tap see every frame from now on; what it wants durable becomes so at once."""
        self.tap = tap
        tap.wanted = self.want

    def lane(self, feed: str, connection: int, *, recorded: bool = False) -> Lane:
        """Open a lane for a connection, or for a recording: its times are none of our lag."""
        lane = Lane(feed, connection, recorded)
        self._lanes.append(lane)
        return lane

    def add(self, feed: str, connection: int, frames: list[bytes], received_us: int) -> None:
        """Put frames of one time after everything handed in so far."""
        self._seal()
        if frames:
            self._number(feed, connection, frames, [received_us] * len(frames))

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
        given = Slice(feed, control.HISTORY_CONNECTION, self._next_frame, [], [])
        self._sealed.append(_Entry(given, record, noted))
        self._next_frame += 1

    @property
    def place(self) -> tuple[Path, int]:
        """Return the journal's folder, and its shard."""
        return self._journal.directory, self._journal.shard

    def waiting(self) -> int:
        """Return how many frames are not yet on their way to the disk."""
        return self._sealed_frames + sum(len(lane.frames) for lane in self._lanes)

    def hand_over(self) -> None:
        """Number what was handed in so far, and show it to the tap.

        Nothing while nobody waits for it, or the disk is far behind: the lanes then fill, and
        whoever fills them pauses.
        """
        heard = self.tap is not None and self.tap.heard
        if heard and self._sealed_frames <= FRAMES_WAITING_MAX:
            self._seal()

    def want(self, frame: int) -> None:
        """Have a flush be due before its time, for a frame's sake; any thread may.

        Nothing for a frame that is durable, was wanted before, or is none yet.
        """
        if max(self._wanted, self.durable_frame) < frame < self._next_frame:
            self._wanted = frame
            if self._loop is not None:
                with suppress(RuntimeError):  # the loop has ended, its last flush with it
                    self._loop.call_soon_threadsafe(self._called.set)

    async def due(self, period_s: float) -> bool:
        """Return when a flush is due: after a period, or before, as soon as a frame is wanted that
        is not durable. Tells whether the period has passed.
        """
        self._loop = asyncio.get_running_loop()
        self._called.clear()
        if self._wanted > self.durable_frame:
            return False
        try:
            await asyncio.wait_for(self._called.wait(), period_s)
        except TimeoutError:
            return True
        return False

    async def flush(self) -> int:
        """Make all that was handed in durable; return the last durable frame.

        Raises DiskFull or Unavailable; what was not acknowledged stays with the journal.
        """
        async with self._flushing:
            self._seal()
            entries, self._sealed, self._sealed_frames = self._sealed, [], 0
            start_us = self._clock.monotonic_us()
            self.durable_frame = await asyncio.to_thread(self._write, entries)
            if self.tap is not None:
                self.tap.durable(self.durable_frame)
            if entries:
                self.flush_times.note((self._clock.monotonic_us() - start_us) / 1e6)
            given = [each.given for each in entries]
            oldest = [e.received_us[0] for e in given if e.received_us and not e.recorded]
            if oldest:
                self.lag_ms = (self._clock.now_us() - min(oldest)) / 1000
        return self.durable_frame

    def _seal(self) -> None:
        for lane in self._lanes:
            if lane.frames:
                frames, received_us = lane.frames, lane.received_us
                lane.frames, lane.received_us = [], []
                self._number(lane.feed, lane.connection, frames, received_us, lane.recorded)

    def _number(
        self,
        feed: str,
        connection: int,
        frames: list[bytes],
        received_us: list[int],
        recorded: bool = False,
    ) -> None:
        given = Slice(feed, connection, self._next_frame, frames, received_us, recorded)
        self._next_frame += len(frames)
        self._sealed_frames += len(frames)
        self._sealed.append(_Entry(given))
        if self.tap is not None:
            self.tap.frames(given)

    def _write(self, entries: list[_Entry]) -> int:
        for entry in _in_blocks(entries):
            given = entry.given
            assert given.first_frame == self._journal.next_frame
            if entry.record is not None:
                frame = self._journal.append(
                    given.feed,
                    given.connection,
                    [control.dump(entry.record())],
                    [self._clock.now_us()],
                    control=True,
                )
                if entry.noted is not None:
                    entry.noted(frame)
                continue
            self._journal.append(given.feed, given.connection, given.frames, given.received_us)
            self.frames_total += len(given.frames)
            size = sum(map(len, given.frames))
            self.bytes_total += size
            frames, before = self.taken.get(given.feed, (0, 0))
            self.taken[given.feed] = frames + len(given.frames), before + size
        return self._journal.flush()


def _in_blocks(entries: list[_Entry]) -> Iterator[_Entry]:
    """Yield the entries, neighbours of one connection as one: a tap makes slices small."""
    for (_, *_, is_record), group in groupby(entries, _block_key):
        same = list(group)
        if is_record or len(same) == 1:
            yield from same
            continue
        first = same[0].given
        frames = [frame for each in same for frame in each.given.frames]
        received_us = [each_us for each in same for each_us in each.given.received_us]
        yield _Entry(replace(first, frames=frames, received_us=received_us))


def _block_key(entry: _Entry) -> tuple[str, int, bool, bool]:
    given = entry.given
    return given.feed, given.connection, given.recorded, entry.record is not None

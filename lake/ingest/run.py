"""Ingest: sockets and recordings into the journal here, journal to hot and lake in the mover.

Two processes, so that a slow database or a long merge never delays the socket by a lock they
share: this one only reads and appends. Either may be killed at any point and started again.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lake.clock import Clock, SystemClock
from lake.errors import TicklakeError
from lake.ingest.feed_to_journal import FeedToJournal
from lake.ingest.intake import Intake
from lake.ingest.last_heard import LastHeard
from lake.ingest.mover_handle import MoverHandle
from lake.ingest.recording_to_journal import RecordingToJournal
from lake.ingest.request import IngestRequest
from lake.ingest.venue import Venue, venue_for
from lake.journal.journal import Journal, Recovery
from lake.settings import Settings
from lake.steps import Steps

SHOW_S = 0.25
STOP_S_MAX = 5.0
"""Connections that have not closed by then are left to the operating system."""


@dataclass
class Status:
    """What an ingest is doing; shown while it runs and returned at its end."""

    shard: int = -1
    frames: int = 0
    durable_frame: int = 0
    reconnects: int = 0
    recovery: Recovery | None = None
    mover: dict[str, Any] = field(default_factory=dict)
    replays_left: int = 0
    ended: bool = False


Show = Callable[[Status], None]


def ingest(
    request: IngestRequest,
    *,
    dsn: str,
    settings: Settings,
    home: Path,
    show: Show | None = None,
    clock: Clock | None = None,
) -> Status:
    """Ingest until the request is done or a signal comes; drain to the lake; return the status.

    Raises WrongUse, BadInput, Refused, DiskFull, Unavailable; nothing that was acknowledged is
    lost by any of them.
    """
    return asyncio.run(_Ingest(request, dsn, settings, home, show, clock or SystemClock()).run())


class _Ingest:
    def __init__(
        self,
        request: IngestRequest,
        dsn: str,
        settings: Settings,
        home: Path,
        show: Show | None,
        clock: Clock,
    ) -> None:
        self._request = request
        self._settings = settings
        self._clock = clock
        self._show = show or (lambda status: None)
        self._venues = [venue_for(feed, request, settings) for feed in request.live]
        self._recordings = [RecordingToJournal(Path(path), request) for path in request.replays]
        self._home = home
        self._mover = MoverHandle(dsn, home, self._claims())
        self._steps = Steps.parse(settings.fault_plan)
        self._stop = asyncio.Event()
        self.status = Status(replays_left=len(self._recordings))

    async def run(self) -> Status:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        try:
            self.status.shard = await self._mover.start()
            directory = self._home / "journal" / f"shard-{self.status.shard}"
            journal = Journal(
                directory,
                self.status.shard,
                segment_bytes_max=self._settings.journal_segment_bytes_max,
                bytes_max=self._settings.journal_bytes_max,
                steps=self._steps,
            )
            self.status.recovery = journal.recovery
            try:
                await self._take_in(journal, LastHeard(directory))
            finally:
                journal.close()
            self._stop_requested_show()
            await self._mover.drain(self._on_progress)
        finally:
            await self._mover.close()
        self.status.ended = True
        self._show(self.status)
        return self.status

    async def _take_in(self, journal: Journal, heard: LastHeard) -> None:
        """Run every feed until it is time to end; flush what came."""
        intake = Intake(journal, self._clock)
        feeds = [
            FeedToJournal(
                venue.feed,
                connection,
                venue.url,
                venue.dialect,
                intake,
                self._clock,
                last_us=heard.last_us(venue.feed, connection),
                history=venue.history,
                steps=self._steps,
            )
            for venue in self._venues
            for connection in range(self._request.connections)
        ]
        ended = asyncio.Event()
        tasks = [asyncio.create_task(feed.run(ended)) for feed in feeds]
        replays = [
            asyncio.create_task(recording.run(intake, self._clock, ended))
            for recording in self._recordings
        ]
        keep = asyncio.create_task(self._flush(intake, feeds, heard, ended))
        try:
            await self._until_done([*tasks, *replays, keep], replays)
        finally:
            ended.set()
            await asyncio.wait([*tasks, *replays, keep], timeout=STOP_S_MAX)
            for task in (*tasks, *replays, keep):
                task.cancel()
            self._raise_first([*tasks, *replays, keep])
        await intake.flush()
        heard.save({(f.feed, f.connection): f.last_us for f in feeds})
        self._note(intake, feeds)

    async def _until_done(
        self, every: list[asyncio.Task[None]], replays: list[asyncio.Task[None]]
    ) -> None:
        """Return when time is up, a signal came, the replays ended, or a task failed."""
        loop = asyncio.get_running_loop()
        end = loop.time() + (self._request.for_seconds or float("inf"))
        bounded_by_replays = replays and (self._request.until_end or not self._venues)
        while loop.time() < end and not self._stop.is_set():
            self.status.replays_left = sum(not task.done() for task in replays)
            if any(task.done() and task.exception() for task in every):
                return
            if bounded_by_replays and not self.status.replays_left:
                return
            self._show(self.status)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), min(SHOW_S, max(0.0, end - loop.time())))
            self._mover.check()

    async def _flush(
        self,
        intake: Intake,
        feeds: list[FeedToJournal],
        heard: LastHeard,
        ended: asyncio.Event,
    ) -> None:
        period_s = self._settings.flush_ms_max / 2000
        self._mover.on_progress = self._on_progress
        while not ended.is_set():
            await asyncio.sleep(period_s)
            await intake.flush()
            heard.save({(f.feed, f.connection): f.last_us for f in feeds})
            self._note(intake, feeds)

    def _note(self, intake: Intake, feeds: list[FeedToJournal]) -> None:
        self.status.frames = intake.frames_total
        self.status.durable_frame = intake.durable_frame
        self.status.reconnects = sum(feed.reconnects for feed in feeds)

    def _on_progress(self, progress: dict[str, Any]) -> None:
        self.status.mover = progress
        if self._stop.is_set() or self.status.replays_left == 0:
            self._show(self.status)

    def _stop_requested_show(self) -> None:
        self._show(self.status)

    def _claims(self) -> list[str]:
        claims = [claim for venue in self._venues for claim in venue.claims]
        return claims + [claim for recording in self._recordings for claim in recording.claims()]

    def _raise_first(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            error = task.exception() if task.done() and not task.cancelled() else None
            if isinstance(error, TicklakeError):
                raise error
            if error is not None:
                raise error


__all__ = ["IngestRequest", "Status", "Venue", "ingest"]

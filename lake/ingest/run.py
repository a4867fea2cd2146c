"""Ingest: sockets and recordings into the journal here, journal to hot and lake in the mover.

Two processes, so that a slow database or a long merge never delays the socket by a lock they
share: this one only reads and appends. Either may be killed at any point and started again.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lake.clock import Clock, SystemClock
from lake.errors import TicklakeError, Unavailable
from lake.ingest import control
from lake.ingest.backlog import Backlog
from lake.ingest.feed_to_journal import FeedToJournal
from lake.ingest.inbox import InboxToJournal, inbox_of
from lake.ingest.intake import Intake, Tap
from lake.ingest.last_heard import LastHeard
from lake.ingest.mover_handle import MoverHandle
from lake.ingest.recording_to_journal import RecordingToJournal
from lake.ingest.request import IngestRequest
from lake.ingest.source import Source
from lake.ingest.status import FeedStatus, Show, Status
from lake.ingest.stored import fates_since, stored_of
from lake.ingest.venue import Venue, venue_for
from lake.journal.journal import Journal
from lake.settings import Settings
from lake.steps import Steps

SHOW_S = 0.25
LOOK_S = 0.25
HAND_OVER_S = 0.002
"""Between two looks for frames to show to the tap."""

STOP_S_MAX = 5.0
"""Connections that have not closed by then are left to the operating system."""


Feeds = Mapping[FeedToJournal, Venue]
TapOf = Callable[[int, int, int], Tap]
"""Makes the tap of a shard, an epoch of its lease, and the next frame."""


def ingest(
    request: IngestRequest,
    *,
    dsn: str,
    settings: Settings,
    home: Path,
    show: Show | None = None,
    clock: Clock | None = None,
    tap: TapOf | None = None,
) -> Status:
    """Ingest until the request is done or a signal comes; drain to the lake; return the status.

    tap: who is to see frames before they are durable.
    Raises WrongUse, BadInput, Refused, DiskFull, Unavailable; nothing that was acknowledged is
    lost by any of them.
    """
    clock = clock or SystemClock()
    return asyncio.run(_Ingest(request, dsn, settings, home, show, clock, tap).run())


class _Ingest:
    def __init__(
        self,
        request: IngestRequest,
        dsn: str,
        settings: Settings,
        home: Path,
        show: Show | None,
        clock: Clock,
        tap: TapOf | None,
    ) -> None:
        self._request = request
        self._tap = tap
        self._settings = settings
        self._clock = clock
        self._show = show or (lambda status: None)
        self._venues = [venue_for(feed, request, settings) for feed in request.live]
        self._sources: list[Source] = [
            *(RecordingToJournal(Path(path), request) for path in request.replays),
            *request.sources,
        ]
        self._home = home
        self._dsn = dsn
        self._mover = MoverHandle(dsn, home, self._claims(), request.shard)
        self._steps = Steps.parse(settings.fault_plan)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._draining = False
        self._backlog = Backlog()
        self._noted_us = 0
        self.status = Status(
            replays_left=len(self._sources), live=tuple(venue.feed for venue in self._venues)
        )

    async def run(self) -> Status:
        loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self._on_signal)
        fault: TicklakeError | None = None
        looking = asyncio.create_task(self._look_often())
        try:
            self.status.shard = await self._mover.start()
            stored = await asyncio.to_thread(stored_of, self._dsn, self.status.shard)
            journal = self._open_journal(stored.last_frame)
            self.status.recovery = journal.recovery
            try:
                heard = LastHeard(self._home / "journal", journal.shard, stored_us=stored.times_us)
                await self._take_in(journal, heard)
            except TicklakeError as error:
                fault = error  # what was journalled before it goes to the lake all the same
                self.status.fault = str(error)
            finally:
                journal.close()
            self._show(self.status)
            try:
                await self._drain()
            except TicklakeError as error:
                fault = fault or error
            if fault is None:
                place = (self._dsn, self.status.shard, stored.last_frame)
                self.status.fates = await asyncio.to_thread(fates_since, *place)
        finally:
            looking.cancel()
            await self._mover.close()
        if fault is not None:
            raise fault
        self.status.ended = True
        self._show(self.status)
        return self.status

    def _on_signal(self) -> None:
        (self._hurry if self._draining else self._stop).set()

    def _open_journal(self, stored: int) -> Journal:
        directory = self._home / "journal" / f"shard-{self.status.shard}"
        try:
            return Journal(
                directory,
                self.status.shard,
                segment_bytes_max=self._settings.journal_segment_bytes_max,
                bytes_max=self._settings.journal_bytes_max,
                steps=self._steps,
                stored=stored,
            )
        except OSError as error:
            raise Unavailable(
                str(directory), str(error.strerror or error), "make it a folder we may write to"
            ) from error

    async def _drain(self) -> None:
        """Wait until everything durable is in the lake, or for a second signal."""
        self._draining = self.status.draining = True
        waits = [
            asyncio.create_task(self._mover.drain(self._on_progress)),
            asyncio.create_task(self._hurry.wait()),
        ]
        done, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        if waits[0] not in done:
            raise Unavailable(
                "drain", "broken off by a second signal", "the next ingest goes on from there"
            )
        waits[0].result()

    async def _take_in(self, journal: Journal, heard: LastHeard) -> None:
        """Run every feed until it is time to end; flush what came."""
        intake = Intake(journal, self._clock)
        if self._tap is not None:
            intake.show_to(self._tap(journal.shard, self._mover.epoch, journal.next_frame))
        start = intake.durable_frame
        intake.behind = lambda: (
            intake.durable_frame - max(start, self.status.mover.get("lake_frame", 0))
        )
        names = {venue.feed for venue in self._venues}
        for name in sorted(names.union(each.feed for each in self._sources)):
            intake.note(name, lambda: control.Started(self._clock.now_us()))
        feeds = {
            FeedToJournal(
                venue.feed,
                connection,
                venue.url,
                venue.dialect,
                intake,
                self._clock,
                last_us=heard.last_us(venue.claims, connection),
                history=venue.history,
                steps=self._steps,
            ): venue
            for venue in self._venues
            for connection in range(self._request.connections)
        }
        ended = asyncio.Event()
        replays = [
            asyncio.create_task(source.run(intake, self._clock, ended)) for source in self._sources
        ]
        running = [asyncio.create_task(feed.run(ended)) for feed in feeds] + replays
        inbox = InboxToJournal(inbox_of(self._home, journal.shard), self._claims())
        running.append(asyncio.create_task(inbox.run(intake, self._clock, ended)))
        running.append(asyncio.create_task(self._flush(intake, feeds, heard, ended)))
        if intake.tap is not None:
            running.append(asyncio.create_task(_hand_over(intake, ended)))
        try:
            await self._until_done(running, replays)
        finally:
            ended.set()
            await asyncio.wait(running, timeout=STOP_S_MAX)
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            await self._make_durable(intake, feeds, heard)
        for task in running:
            if not task.cancelled():
                task.result()

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
        self, intake: Intake, feeds: Feeds, heard: LastHeard, ended: asyncio.Event
    ) -> None:
        period_s = self._settings.flush_ms_max / 2000
        self._mover.on_progress = self._on_progress
        self.status.flushes = intake.flush_times
        while not ended.is_set():
            start_us = self._clock.monotonic_us()
            if await intake.due(period_s):
                late_s = (self._clock.monotonic_us() - start_us) / 1e6 - period_s
                self.status.loop_delays.note(late_s)
            await self._make_durable(intake, feeds, heard)

    async def _make_durable(self, intake: Intake, feeds: Feeds, heard: LastHeard) -> None:
        await heard.save_durable(
            intake.flush,
            lambda: {
                (claim, feed.connection): feed.heard_us
                for feed, venue in feeds.items()
                for claim in venue.claims
            },
        )
        self.status.frames = intake.frames_total
        self.status.durable_frame = intake.durable_frame
        self.status.journal_lag_ms = intake.lag_ms
        self.status.reconnects = sum(feed.reconnects for feed in feeds)
        now_us = self.status.flushed_us = self._clock.now_us()
        self._backlog.note(intake.durable_frame, now_us)
        if now_us - self._noted_us >= LOOK_S * 1e6:
            self._noted_us = now_us
            self.status.feeds = _by_feed(intake, feeds)
            if intake.tap is not None:
                self.status.streams = dict(intake.tap.figures())

    async def _look_often(self) -> None:
        """Keep the lags right even while the mover says nothing."""
        while True:
            now_us = self._clock.now_us()
            status, mover = self.status, self.status.mover
            status.at_us = now_us
            lake_frame = mover.get("lake_frame", 0)
            status.hot_lag_ms = self._backlog.age_ms(mover.get("hot_frame", 0), now_us)
            status.lake_lag_ms = self._backlog.age_ms(lake_frame, now_us)
            self._backlog.forget(lake_frame)
            await asyncio.sleep(LOOK_S)

    def _on_progress(self, progress: dict[str, Any]) -> None:
        self.status.mover = progress
        if self._stop.is_set() or self.status.replays_left == 0:
            self._show(self.status)

    def _claims(self) -> list[str]:
        claims = [claim for venue in self._venues for claim in venue.claims]
        return claims + [claim for source in self._sources for claim in source.claims()]


async def _hand_over(intake: Intake, ended: asyncio.Event) -> None:
    while not ended.is_set():
        intake.hand_over()
        await asyncio.sleep(HAND_OVER_S)


def _by_feed(intake: Intake, feeds: Feeds) -> dict[str, FeedStatus]:
    """Return what each feed's connections did, a recording's too."""
    found = {feed: FeedStatus(*taken) for feed, taken in intake.taken.items()}
    for each in feeds:
        one = found.setdefault(each.feed, FeedStatus())
        one.last_us = max(one.last_us, each.last_us)
        one.reconnects += each.reconnects
        one.gaps_opened += each.gaps_opened
        one.gaps_closed += each.gaps_closed
        one.paused_ms += each.paused_us / 1000
    return found


__all__ = ["IngestRequest", "Show", "Status", "Venue", "ingest"]

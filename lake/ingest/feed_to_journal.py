"""Read a venue's socket into the journal: frame, stamp, append; nothing else happens here.

A connection that ends or falls silent opens a gap at once and comes back with growing, jittered
waits; the wait is reset by data, not by a login (venues accept a login and then close). The first
frame of data after that closes the gap. Where the venue has a history endpoint, the gap is refilled
from it through this same journal.

Silence has two meanings. A venue that answers a ping has nothing to say, and is given its dialect's
time before the connection is made anew. One that does not answer is gone, and is known to be within
PROBE_AFTER_S + PROBE_S_MAX. Frames that wait to be read count as heard, so a burst that takes
seconds to work off is no silence.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidURI,
    WebSocketException,
)

from lake.clock import Clock
from lake.errors import Refused, Unavailable, WrongUse
from lake.feeds.dialect import Dialect
from lake.ingest import control
from lake.ingest.history_to_journal import History, HistoryToJournal
from lake.ingest.intake import FRAMES_WAITING_MAX, Intake
from lake.journal.block import FRAME_BYTES_MAX
from lake.steps import Steps

BACKOFF_S_MIN = 0.25
BACKOFF_S_MAX = 30.0
HANDSHAKE_S_MAX = 10.0
WATCH_S = 0.5
PROBE_AFTER_S = 1.5
PROBE_S_MAX = 2.0
"""With looks every WATCH_S 4 s in all; 5 are promised, of which a busy machine takes some."""

FIRST_TRIES_MAX = 5
"""Connections tried before an address where nothing was ever heard counts as wrong."""

REFILL_S_MAX = 3.0
"""How long an end waits for a gap's history; a gap cut short stays open in the book."""

SOCKET_FRAMES_MAX = 4096
"""Frames that the socket may hold unread before the venue feels it."""


@dataclass
class Gap:
    """An open gap; frame is known once its record is in the journal."""

    from_us: int
    frame: int = 0


def pauses_s(jitter: random.Random) -> Iterator[float]:
    """Yield the pauses between attempts to connect: each twice the last, up to BACKOFF_S_MAX.

    By chance each is up to a half shorter or longer, so that many do not come back at once.
    """
    backoff_s = BACKOFF_S_MIN
    while True:
        yield backoff_s * jitter.uniform(0.5, 1.5)
        backoff_s = min(BACKOFF_S_MAX, backoff_s * 2)


class FeedToJournal:
    """One connection to one venue, kept up until stopped.

    make_dialect gives a fresh conversation per attempt. last_us is when an earlier session last
    heard of this feed: what came since is a gap.
    """

    def __init__(
        self,
        feed: str,
        connection: int,
        url: str,
        make_dialect: Callable[[], Dialect],
        intake: Intake,
        clock: Clock,
        *,
        last_us: int | None = None,
        history: History | None = None,
        steps: Steps | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        self.feed = feed
        self.connection = connection
        self._url = url
        self._make_dialect = make_dialect
        self._intake = intake
        self._clock = clock
        self._history = HistoryToJournal(feed, history, intake, clock) if history else None
        self._steps = steps or Steps()
        self._jitter = jitter or random.Random()
        self._lane = intake.lane(feed, connection)
        self._gap: Gap | None = None
        self._refilling: dict[asyncio.Task[None], Gap] = {}
        self._pauses_s = pauses_s(self._jitter)
        self.last_us = last_us or 0
        self.reconnects = 0
        self.gaps_opened = 0
        self.gaps_closed = 0
        self.paused_us = 0
        """Time in which the socket was not read, since the journal was behind."""
        if last_us:
            self._open_gap("restart")

    @property
    def heard_us(self) -> int:
        """Return up to when nothing is missing that a later start would have to ask for."""
        open_gaps = [*self._refilling.values(), *([self._gap] if self._gap else [])]
        return min([self.last_us, *(gap.from_us for gap in open_gaps)])

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the connection up until stop is set.

        Raises Refused when the venue says no, Unavailable when it was never there at all.
        """
        unheard = 0
        while not stop.is_set():
            reason: control.GapKind = "disconnect"
            try:
                reason = await self._session(stop)
            except _Busy:
                pass
            except (OSError, WebSocketException) as error:
                unheard += 1
                self._give_up_if_final(error, unheard)
            if stop.is_set():
                break
            if self._gap is None and self.last_us:
                self._open_gap(reason)
            self.reconnects += 1
            await _wait(stop, next(self._pauses_s))
        if self._refilling:
            await asyncio.wait(self._refilling, timeout=REFILL_S_MAX)

    def _give_up_if_final(self, error: Exception, unheard: int) -> None:
        if isinstance(error, InvalidURI):
            raise WrongUse(self._url, "is no WebSocket address", "ws://HOST:PORT/PATH") from error
        if _is_final(error):
            raise Refused(self._url, str(error), "check address and key") from error
        if unheard >= FIRST_TRIES_MAX and not self.last_us:
            raise Unavailable(
                self._url, f"not reached in {unheard} tries ({error})", "is it up? check --url"
            ) from error

    async def _session(self, stop: asyncio.Event) -> control.GapKind:
        """Talk to the venue until the connection ends; return why."""
        dialect = self._make_dialect()
        async with connect(
            self._url,
            compression=None,
            max_size=FRAME_BYTES_MAX,
            max_queue=SOCKET_FRAMES_MAX,
            open_timeout=HANDSHAKE_S_MAX,
            close_timeout=1.0,
            ping_interval=None,  # _watch pings when nothing comes, and only then
            proxy=None,
        ) as socket:
            heard = await asyncio.wait_for(self._introduce(socket, dialect), HANDSHAKE_S_MAX)
            watch = asyncio.create_task(self._watch(socket, dialect.silence_s_max, stop))
            try:
                await self._read(socket, heard)
            except ConnectionClosed:
                silent = watch.done() and watch.result()
            finally:
                watch.cancel()
            return "silence" if silent else "disconnect"

    async def _introduce(self, socket: ClientConnection, dialect: Dialect) -> bool:
        """Talk until the venue has confirmed everything; return whether data came by then."""
        heard = False
        for message in dialect.opening():
            await socket.send(message)
        while True:
            frame = await socket.recv(decode=False)
            reply = dialect.on_frame(frame)
            if reply.data and not heard:
                self._is_up()
                heard = True
            self._keep(frame)
            for message in reply.send:
                await socket.send(message)
            if reply.state == "refused":
                raise Refused(f"{self.feed} at {self._url}", reply.message, reply.remedy)
            if reply.state == "busy":
                raise _Busy(reply.message)
            if reply.state == "ready":
                return heard

    async def _read(self, socket: ClientConnection, heard: bool) -> None:
        at = self._steps.at
        now_us = self._clock.now_us
        lane = self._lane
        while True:
            frame = await socket.recv(decode=False)
            at("frame.read")
            if not heard:
                self._is_up()
                heard = True
            self.last_us = now_us()
            lane.frames.append(frame)
            lane.received_us.append(self.last_us)
            if len(lane.frames) > FRAMES_WAITING_MAX:
                await self._pause()

    async def _pause(self) -> None:
        """Let the journal catch up; meanwhile the venue's buffer fills."""
        start_us = self._clock.monotonic_us()
        await self._intake.flush()
        self.paused_us += self._clock.monotonic_us() - start_us

    async def _watch(
        self, socket: ClientConnection, silence_s_max: float, stop: asyncio.Event
    ) -> bool:
        """End the connection when it is silent too long (then return True) or at stop."""
        heard, since_us, alive_us = self.last_us, *[self._clock.monotonic_us()] * 2
        while not stop.is_set():
            await _wait(stop, WATCH_S)
            now_us = self._clock.monotonic_us()
            if self.last_us != heard:
                heard, since_us, alive_us = self.last_us, now_us, now_us
            elif now_us - since_us > silence_s_max * 1e6:
                socket.transport.abort()
                return True
            elif now_us - alive_us > PROBE_AFTER_S * 1e6:
                if not await _answers(socket) and self.last_us == heard:
                    socket.transport.abort()
                    return True
                alive_us = self._clock.monotonic_us()
        await socket.close()
        return False

    def _keep(self, frame: bytes) -> None:
        self._lane.frames.append(frame)
        self._lane.received_us.append(self._clock.now_us())

    def _is_up(self) -> None:
        """Note that data has come, before its first frame; the gap is over."""
        self.last_us = self._clock.now_us()
        self._pauses_s = pauses_s(self._jitter)
        self._close_gap(self.last_us)

    def _open_gap(self, reason: control.GapKind) -> None:
        gap = self._gap = Gap(self.last_us)
        self.gaps_opened += 1
        record = control.GapOpened(self.connection, reason, gap.from_us, self._clock.now_us())
        self._intake.note(self.feed, lambda: record, lambda frame: setattr(gap, "frame", frame))

    def _close_gap(self, to_us: int) -> None:
        up = control.Up(self.connection, to_us)
        self._intake.note(self.feed, lambda: up)
        gap, self._gap = self._gap, None
        if gap is not None:
            task = asyncio.create_task(self._refill(gap, to_us))
            self._refilling[task] = gap
            task.add_done_callback(self._refilling.pop)

    async def _refill(self, gap: Gap, to_us: int) -> None:
        """Ask the venue's history for the gap, then close it; what it lacks is not said filled."""
        filled = await self._history.refill(gap.from_us, to_us) if self._history else ""
        closed_us = self._clock.now_us()
        self.gaps_closed += 1
        self._intake.note(self.feed, lambda: control.GapClosed(gap.frame, to_us, closed_us, filled))


class _Busy(Exception):
    """The venue has no place for us now; that says nothing against the address."""


async def _answers(socket: ClientConnection) -> bool:
    """Tell whether the venue answers a ping; a connection that ends meanwhile counts as well."""
    try:
        await asyncio.wait_for(await socket.ping(), PROBE_S_MAX)
    except ConnectionClosed:
        return True
    except TimeoutError:
        return False
    return True


def _is_final(error: BaseException) -> bool:
    """Tell whether a handshake was refused for good (wrong key or address)."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    return isinstance(error, InvalidHandshake) and status in (400, 401, 403, 404)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return

"""The simulated exchange: one order flow, any number of clients, faults by option."""

from __future__ import annotations

import asyncio
import json
import resource
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from random import Random
from urllib.parse import parse_qs, urlsplit

import numpy as np
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from infra.exchange.bars import Bars
from infra.exchange.faults import Spoiler
from infra.exchange.frames import FrameRenderer
from infra.exchange.history import Bar, History, HistoryLimits, framed
from infra.exchange.listener import Listener
from infra.exchange.options import ExchangeOptions
from infra.exchange.order_flow import TICK_US, OrderFlow
from infra.exchange.subscription import Subscription
from infra.exchange.ticks import TickFlow, TickRows
from infra.exchange.truth import TruthLog
from lake.clock import Clock, SystemClock

PATH = "/crypto"
CATCH_UP_TICKS_MAX = 20
"""Ticks sent in one go after a delay, before others get their turn."""

RECENT_TICKS = 50
"""Ticks whose trades may be sent again."""


class Exchange:
    """A running exchange; start() gives its address."""

    def __init__(
        self,
        options: ExchangeOptions,
        clock: Clock | None = None,
        limits: HistoryLimits | None = None,
    ) -> None:
        self._limits = limits or HistoryLimits()
        self._options = options
        self._clock = clock or SystemClock()
        self._server: Server | None = None
        self._sending: asyncio.Task[None] | None = None
        self._listeners: set[Listener] = set()
        self._chance = Random(options.seed)
        self._spoiler = Spoiler(options, self._chance)
        self._truth = TruthLog(Path(options.truth)) if options.truth else None
        self._recent: deque[TickRows] = deque(maxlen=RECENT_TICKS)
        self.events_sent = 0
        self.over = asyncio.Event()

    async def start(self) -> str:
        """Listen; return the address."""
        options = self._options
        if options.base_us == 0:
            self._begin(self._clock.now_us())
        else:
            self._begin(options.base_us)
        self._server = await serve(
            self._serve,
            options.host,
            options.port,
            compression=None,
            process_request=self._answer,
            ping_interval=None,
        )
        port = self._server.sockets[0].getsockname()[1]
        self._sending = asyncio.create_task(self._send_all())
        return f"ws://{options.host}:{port}{PATH}"

    async def serve(self, until: asyncio.Event) -> None:
        """Wait until told to stop; raises what broke the sending, if that comes first."""
        assert self._sending is not None
        waiting = asyncio.create_task(until.wait())
        try:
            await asyncio.wait([waiting, self._sending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self._sending.done():
            self._sending.result()

    async def stop(self) -> None:
        """End: clients are told, the truth is written out."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        if self._truth is not None:
            self._truth.close()

    def _begin(self, base_us: int) -> None:
        """Set the first event's time; done again when the first listener is waited for."""
        self._base_us = base_us
        flow = OrderFlow(self._options, base_us=base_us)
        self.names = flow.pairs.names
        self._renderer = FrameRenderer(self.names, self._options.events_per_frame)
        self._flow = TickFlow(flow, self._renderer, self._limits.states)
        self._history = History(
            self._flow,
            self._renderer,
            self.names,
            self._options.events_per_frame,
            self._limits,
        )
        self._bars = [Bars(self.names, "XA", 60)]
        if self._options.seconds_bars:
            self._bars.append(Bars(self.names, "XAS", 1))

    async def _serve(self, socket: ServerConnection) -> None:
        listener = Listener(socket, self.names, self._options, self._clock, self._chance)
        self._listeners.add(listener)
        try:
            if await listener.introduce(self._authenticated):
                await listener.converse()
        except ConnectionClosed:
            return
        finally:
            self._listeners.discard(listener)

    def _authenticated(self) -> int:
        return sum(each.authenticated for each in self._listeners)

    async def _send_all(self) -> None:
        """Send tick after tick at its time; return only by a fault."""
        options = self._options
        if options.start_when_subscribed:
            while not any(each.is_live for each in self._listeners):
                await asyncio.sleep(TICK_US / 1e6)
            if options.base_us == 0:
                self._begin(self._clock.now_us())
        start_us = self._clock.monotonic_us()
        tick = 0
        while not self._flow.is_over:
            due = (self._clock.monotonic_us() - start_us) // TICK_US
            for _ in range(CATCH_UP_TICKS_MAX):
                if tick >= due:
                    break
                self._send_tick(tick)
                tick += 1
            late_us = self._clock.monotonic_us() - start_us - tick * TICK_US
            await asyncio.sleep(max(0.0, (TICK_US - late_us) / 1e6))
        self.over.set()
        await asyncio.Event().wait()

    def _send_tick(self, tick: int) -> None:
        rows = self._flow.at(tick)
        due_ms = (self._base_us + (tick + 1) * TICK_US) // 1000
        bars = [
            (each.event, pair, text) for each in self._bars for pair, text in each.add(rows, due_ms)
        ]
        now_us = self._history.sent(self._clock.now_us(), bars)
        self._cut_due()
        if not (len(rows) or bars) or self._is_silent(tick):
            return
        self.events_sent += len(rows)
        if self._truth is not None and len(rows):
            self._truth.add(rows, now_us)
        self._send_rows(rows, bars, now_us // 1000)
        if self._options.duplicates and rows.trade.any():
            self._recent.append(rows.take(rows.trade))

    def _is_silent(self, tick: int) -> bool:
        return any(
            round(each.at_s * 1e6) <= tick * TICK_US < round((each.at_s + each.for_s) * 1e6)
            for each in self._options.silences
        )

    def _send_rows(self, rows: TickRows, bars: Sequence[Bar], now_ms: int) -> None:
        rendered: dict[bytes, list[bytes]] = {}
        for listener in list(self._listeners):
            if not listener.is_live:
                continue
            wanted = listener.subscription
            key = wanted.key()
            if key not in rendered:
                picked = wanted.pick(rows)
                frames = self._render(picked, shared=picked is rows)
                frames += framed(
                    [text for event, pair, text in bars if wanted.wants_bar(event, pair)],
                    self._options.events_per_frame,
                )
                rendered[key] = self._spoiler.spoiled(frames, now_ms, partial(self._resent, wanted))
            listener.send(rendered[key])

    def _render(self, rows: TickRows, *, shared: bool) -> list[bytes]:
        if not len(rows):
            return []
        # The renderer writes into the rows' edges: what others still read is rendered as a copy.
        text = rows.rows.copy() if shared else rows.rows
        return self._renderer.frames(text, rows.time_ms * 0)[0]

    def _resent(self, wanted: Subscription) -> list[bytes]:
        """Return a frame of wanted trades that were sent before, if there are any."""
        if not self._recent:
            return []
        rows = wanted.pick(self._chance.choice(self._recent))
        some = np.arange(min(len(rows), self._options.events_per_frame))
        return self._render(rows.take(some), shared=False)

    def _cut_due(self) -> None:
        now_us = self._clock.monotonic_us()
        for listener in list(self._listeners):
            if listener.cut_at_us and now_us >= listener.cut_at_us and listener.is_live:
                listener.cut()

    async def _answer(self, socket: ServerConnection, request: Request) -> Response | None:
        """Answer HTTP requests for history and status; None lets a WebSocket through."""
        parts = urlsplit(request.path)
        if parts.path == "/v1/status":
            return _response(200, json.dumps(self.status()).encode())
        if parts.path == "/v1/history":
            return await asyncio.to_thread(self._again, parse_qs(parts.query))
        return None if parts.path == PATH else _response(404, b"no such path")

    def status(self) -> dict[str, float]:
        """Return what the exchange has done so far."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "events_sent": self.events_sent,
            "connections": len(self._listeners),
            "cpu_s": used.ru_utime + used.ru_stime,
            "base_us": self._base_us,
        }

    def _again(self, query: dict[str, list[str]]) -> Response:
        """Return frames sent from from_us (inclusive) to to_us (exclusive), a line each."""
        try:
            from_us, to_us = (int(query[name][0]) for name in ("from_us", "to_us"))
            events, pairs = (query.get(name, [""])[0] for name in ("events", "pairs"))
            frames = self._history.frames(from_us, to_us, events, pairs)
            body = _body(frames, self._limits.answer_bytes)
        except OverflowError as error:
            return _response(413, f"to_us: {error}".encode())
        except (KeyError, ValueError) as error:
            return _response(400, f"from_us and to_us in UTC microseconds: {error}".encode())
        except LookupError as error:
            return _response(416, f"from_us: {error}".encode())
        return _response(200, body)


def _response(status: int, body: bytes) -> Response:
    headers = Headers({"Content-Length": str(len(body)), "Connection": "close"})
    return Response(status, HTTPStatus(status).phrase, headers, body)


def _body(frames: Iterable[bytes], bytes_max: int) -> bytes:
    """Return frames as lines; raises OverflowError once they are too many."""
    body = bytearray()
    for frame in frames:
        body += frame + b"\n"
        if len(body) > bytes_max:
            raise OverflowError(f"more than {bytes_max} bytes, ask for a shorter span")
    return bytes(body)

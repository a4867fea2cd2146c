"""The simulated exchange: one order flow, any number of clients, faults by option."""

from __future__ import annotations

import asyncio
import json
import resource
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from random import Random
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from infra.exchange.bars import Bars
from infra.exchange.faults import Spoiler
from infra.exchange.frames import FrameRenderer
from infra.exchange.listener import Listener
from infra.exchange.options import ExchangeOptions
from infra.exchange.order_flow import TICK_US, OrderFlow
from infra.exchange.ticks import TickFlow, TickRows
from infra.exchange.truth import TruthLog
from lake.clock import Clock, SystemClock

PATH = "/crypto"
CATCH_UP_TICKS_MAX = 20
"""Ticks sent in one go after a delay, before others get their turn."""

NOTHING: tuple[bytes, ...] = ()


class Exchange:
    """A running exchange; start() gives its address."""

    def __init__(self, options: ExchangeOptions, clock: Clock | None = None) -> None:
        self._options = options
        self._clock = clock or SystemClock()
        self._server: Server | None = None
        self._sending: asyncio.Task[None] | None = None
        self._listeners: set[Listener] = set()
        self._subscribed = asyncio.Event()
        self._chance = Random(options.seed)
        self._spoiler = Spoiler(options, self._chance)
        self._truth = TruthLog(Path(options.truth)) if options.truth else None
        self._recent: deque[TickRows] = deque(maxlen=50)
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
        self._flow = TickFlow(flow, self._renderer)
        self._bars = [Bars(self.names, "XA", 60)]
        if self._options.seconds_bars:
            self._bars.append(Bars(self.names, "XAS", 1))

    async def _serve(self, socket: ServerConnection) -> None:
        listener = Listener(socket, self.names, self._options, self._clock, self._chance)
        others = sum(each.authenticated for each in self._listeners)
        self._listeners.add(listener)
        try:
            if await listener.introduce(others):
                self._subscribed.set()
                await listener.converse()
        except ConnectionClosed:
            return
        finally:
            self._listeners.discard(listener)

    async def _send_all(self) -> None:
        """Send tick after tick at its time."""
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

    def _send_tick(self, tick: int) -> None:
        rows = self._flow.at(tick)
        if rows is None:
            return
        silent = any(
            each.at_s * 1e6 <= tick * TICK_US < (each.at_s + each.for_s) * 1e6
            for each in self._options.silences
        )
        now_us = self._clock.now_us()
        bars = [(each.event, each.add(rows, now_us // 1000)) for each in self._bars]
        self._cut_due()
        if silent:
            return
        self.events_sent += len(rows)
        if self._truth is not None:
            self._truth.add(rows, now_us)
        if self._options.duplicates:
            self._recent.append(rows.take(rows.trade))
        self._send_rows(rows, bars, now_us // 1000)

    def _send_rows(
        self,
        rows: TickRows,
        bars: Sequence[tuple[str, list[tuple[int, bytes]]]],
        now_ms: int,
    ) -> None:
        rendered: dict[bytes, list[bytes]] = {}
        for listener in list(self._listeners):
            if not listener.is_live:
                continue
            key = listener.subscription.key()
            if key not in rendered:
                wanted = listener.subscription.pick(rows)
                frames = self._render(wanted, copy=wanted is rows)
                frames += self._bar_frames(listener, bars)
                rendered[key] = self._spoiler.spoiled(frames, now_ms, self._resent)
            listener.send(rendered[key])

    def _render(self, rows: TickRows, *, copy: bool) -> list[bytes]:
        if not len(rows):
            return []
        # The renderer writes into the rows' edges, so what is kept or shared is rendered as a copy.
        text = rows.rows.copy() if copy else rows.rows
        return self._renderer.frames(text, (rows.time_ms * 0))[0]

    def _bar_frames(
        self, listener: Listener, bars: Sequence[tuple[str, list[tuple[int, bytes]]]]
    ) -> list[bytes]:
        wanted = [
            bar
            for event, ended in bars
            for pair, bar in ended
            if listener.subscription.wants_bar(event, pair)
        ]
        size = self._options.events_per_frame
        return [b"[" + b",".join(wanted[i : i + size]) + b"]" for i in range(0, len(wanted), size)]

    def _resent(self) -> list[bytes]:
        """Return a frame of trades that were sent before."""
        rows = self._chance.choice(self._recent)
        some = rows.take(slice(0, self._options.events_per_frame))  # type: ignore[arg-type]
        return self._render(some, copy=True)

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
            return await asyncio.to_thread(self._history, parse_qs(parts.query))
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

    def _history(self, query: dict[str, list[str]]) -> Response:
        """Return frames sent from from_us (inclusive) to to_us (exclusive), a line each."""
        try:
            ticks = [(int(query[k][0]) - self._base_us) // TICK_US for k in ("from_us", "to_us")]
        except (KeyError, ValueError):
            return _response(400, b"from_us and to_us: UTC microseconds")
        events = query.get("events", ["XT,XQ"])[0].split(",")
        names = query.get("pairs", [""])[0]
        wanted = {self.names.index(n) for n in names.split(",") if n in self.names}
        lines: list[bytes] = []
        try:
            for _, rows in self._flow.again(max(0, ticks[0] - 2), ticks[1] + 1):
                keep = (rows.trade & ("XT" in events)) | (~rows.trade & ("XQ" in events))
                if names:
                    keep &= [int(pair) in wanted for pair in rows.pair]
                lines += self._render(rows.take(keep), copy=False)
        except LookupError as error:
            return _response(416, f"from_us: {error}".encode())
        return _response(200, b"\n".join(lines))


def _response(status: int, body: bytes) -> Response:
    reasons = {200: "OK", 400: "Bad Request", 404: "Not Found", 416: "Range Not Satisfiable"}
    headers = Headers({"Content-Length": str(len(body)), "Connection": "close"})
    return Response(status, reasons[status], headers, body)

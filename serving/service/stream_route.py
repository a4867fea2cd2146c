"""The WebSocket of /v1/stream: a client says of what it wants to hear, and hears the newest.

    client: {"action": "auth", "key": KEY}
            {"action": "subscribe", "tickers": [...] or "*", "topics": [...]}
            {"action": "ping", "id": ANYTHING}
    server: {"type": "ready" | "subscribed" | "pong" | "error", ...}, and updates (see hub)

A key is in the first message, since addresses end up in logs. Where the caller is on this machine
and reads are open, none is needed. A later subscription takes the place of the one before.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import orjson
from fastapi import APIRouter, WebSocket
from starlette.datastructures import Headers
from starlette.websockets import WebSocketDisconnect, WebSocketState

from lake.errors import Unavailable
from serving.service.gate import Caller
from serving.service.hub import SLOW_CODE, Batch, Client
from serving.service.limits import NAME, TICKERS_MAX
from serving.service.parts import Parts
from serving.service.server import FRAME

TOPICS = frozenset(
    {
        *("orders", "events", "positions", "pnl", "breaches"),
        *("signals", "sentiment", "alerts", "lag", "kill"),
    }
)
AUTH_S_MAX = 5.0
"""Time that a client without a key has to say one."""

KEY_LOOK_S = 1.0
"""Between two looks whether a client's key was revoked."""

NO_KEY_CODE = 4001
TOO_MANY_CODE = 4029
LATER_CODE = 1013
BAD_CODE = 4400
BAD_MAX = 5
"""Messages that make no sense, after which a client is let go."""

_NAME = re.compile(NAME)


class Said(Exception):
    """What is wrong with a client's message."""


def stream_route(parts: Parts) -> APIRouter:
    """Return the route."""
    routes = APIRouter(prefix="/v1")
    of_one: dict[str, int] = {}

    @routes.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        if not parts.doors.is_ours(Headers(scope=socket.scope)):
            await socket.close(NO_KEY_CODE)  # before it is accepted: an answer of 403
            return
        await socket.accept()
        try:
            caller = await _caller(parts, socket)
        except Unavailable as error:
            await socket.close(LATER_CODE, f"{error.thing}: {error.fault}")
            return
        if caller is None:
            await socket.close(NO_KEY_CODE, "needs a key")
            return
        limits = parts.limits
        count = of_one.get(caller.id, 0)
        if len(parts.hub) >= limits.clients_max or count >= limits.clients_of_one_max:
            await socket.close(TOO_MANY_CODE, "too many clients")
            return
        of_one[caller.id] = count + 1
        try:
            await Listener(parts, socket, caller).run()
        finally:
            of_one[caller.id] -= 1
            if not of_one[caller.id]:
                del of_one[caller.id]

    return routes


class Listener:
    """One connection: what it says is read, what it is to hear is written, until one side ends."""

    def __init__(self, parts: Parts, socket: WebSocket, caller: Caller) -> None:
        self._parts = parts
        self._socket = socket
        self._caller = caller
        self._client = Client(parts.clock)
        self._bad = 0

    async def run(self) -> None:
        """Serve it; a client that is too slow, or whose key is revoked, is cut."""
        await self._say({"type": "ready", "name": self._caller.name, "topics": sorted(TOPICS)})
        self._parts.hub.join(self._client)
        works = (self._read(), self._write(), self._client.too_slow.wait(), self._revoked())
        tasks = [asyncio.ensure_future(each) for each in works]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._parts.hub.leave(self._client)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._client.too_slow.is_set():
            self._parts.counts.cut.inc()
            await self._close(SLOW_CODE, "too slow")
        elif self._bad >= BAD_MAX:
            await self._close(BAD_CODE, "messages make no sense")
        elif not self._is_let:
            await self._close(NO_KEY_CODE, "its key is revoked")

    @property
    def _is_let(self) -> bool:
        key = self._caller.key
        return key is None or self._parts.keys.is_in_use(key)

    async def _revoked(self) -> None:
        """Return once its key is none any more."""
        while self._is_let:
            await asyncio.sleep(KEY_LOOK_S)

    async def _write(self) -> None:
        while True:
            await self._client.ready.wait()
            batch = self._client.next_batch()
            if batch is not None:
                await self._socket.send({"type": "websocket.send", FRAME: batch.frame()})
                self._client.sent()
                self._parts.counts.messages.inc()

    async def _read(self) -> None:
        while self._bad < BAD_MAX:
            text = await _text(self._socket)
            if self._parts.doors.reads.take(self._caller.id):
                await self._say({"type": "error", "fault": "asks too often"})
                self._bad += 1
                continue
            try:
                await self._answer(_loaded(text))
            except Said as said:
                self._bad += 1
                await self._say({"type": "error", "fault": str(said)})

    async def _answer(self, said: dict[str, Any]) -> None:
        action = said.get("action")
        if action == "ping":
            await self._say({"type": "pong", "id": said.get("id")})
        elif action == "subscribe":
            tickers, topics = tickers_of(said.get("tickers", [])), topics_of(said.get("topics", []))
            hub, board = self._parts.hub, self._parts.board
            known = board.items(tickers)
            hub.subscribe(self._client, tickers, topics)
            told = "*" if tickers is None else sorted(tickers)
            await self._say({"type": "subscribed", "tickers": told, "topics": sorted(topics)})
            if known:
                self._client.offer(Batch(known))
        elif action == "auth":
            pass  # who has a key already
        else:
            raise Said("action is one of: subscribe, ping, auth")

    async def _say(self, said: dict[str, Any]) -> None:
        await self._socket.send_text(orjson.dumps(said).decode())

    async def _close(self, code: int, reason: str) -> None:
        if self._socket.application_state is WebSocketState.CONNECTED:
            await self._socket.close(code, reason)


async def _caller(parts: Parts, socket: WebSocket) -> Caller | None:
    """Return who connects: by the first message where it is a key; else as one without."""
    open_reader = parts.doors.caller(socket.scope, "")
    words = socket.headers.get("authorization", "").removeprefix("Bearer ")
    if words:
        return parts.doors.caller(socket.scope, words)
    if open_reader is not None:
        return open_reader
    try:
        async with asyncio.timeout(AUTH_S_MAX):
            said = _loaded(await _text(socket))
    except (TimeoutError, WebSocketDisconnect, Said):
        return None
    key = said.get("key")
    is_auth = said.get("action") == "auth" and isinstance(key, str) and key
    return parts.doors.caller(socket.scope, str(key)) if is_auth else None


async def _text(socket: WebSocket) -> str:
    """Return the next message; WebSocketDisconnect where there is none."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    return message.get("text") or ""


def _loaded(text: str) -> dict[str, Any]:
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Said("is no JSON") from error
    if not isinstance(said, dict):
        raise Said("is no JSON object")
    return said


def tickers_of(said: Any) -> frozenset[str] | None:
    """Return the tickers of a subscription; None for "*", all of them."""
    if said == "*":
        return None
    is_list = isinstance(said, list) and all(isinstance(each, str) for each in said)
    if not is_list or len(said) > TICKERS_MAX or not all(_NAME.match(each) for each in said):
        raise Said(f'tickers is "*", or a list of {TICKERS_MAX} at most')
    return frozenset(said)


def topics_of(said: Any) -> frozenset[str]:
    """Return the topics of a subscription."""
    if not isinstance(said, list) or not all(isinstance(each, str) for each in said):
        raise Said("topics is a list of names")
    unknown = sorted(set(said) - TOPICS)
    if unknown:
        raise Said(f"topics are: {', '.join(sorted(TOPICS))}")
    return frozenset(said)

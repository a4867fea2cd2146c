"""The server of HTTP and WebSocket: uvicorn, and what it lacks for clients that are slow.

Connections are few (CONNECTIONS_MAX): one that begins a request and does not end it, or begins
none, is cut, and so is one that does not take what it asked for, or so many of them would keep
everybody out, the kill switch among them. A handshake of TLS has asyncio's minute, before it
counts.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from serving.service.limits import BODY_S_MAX, HEAD_S_MAX, MESSAGE_BYTES_MAX, UNREAD_S_MAX

CUT_S = 2.0
"""Time that a client has to hear why it is cut, before its connection is dropped."""

BACKLOG = 1_024
CONNECTIONS_MAX = 8_000
HEAD_BYTES_MAX = 32 * 1024
STOP_S_MAX = 3
PING_S = 20.0


FRAME = "frame"
"""In a message to send: the WebSocket frame itself, made once for many clients."""


LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
BAD = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
"""What a client hears whose head did not come, and whose WebSocket can't begin."""


class TimedProtocol(H11Protocol):
    """Gives a head HEAD_S_MAX, and a body BODY_S_MAX, however little of it comes at a time.

    A body that the routes wait for is refused by the gate; what is cut here is one that nobody
    reads, since its request was refused by its head, and one whose refusal nobody takes.
    """

    _waits: tuple[object, ...] = ()
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; the first head is waited for.

        What is not taken in UNREAD_S_MAX ends the connection, a WebSocket's too: no timer of ours
        sees bytes that wait in the system, nor does its close.
        """
        super().connection_made(transport)
        if sys.platform == "linux":  # other systems have no such setting
            taken: socket.socket = transport.get_extra_info("socket")
            unread_ms = int(1_000 * UNREAD_S_MAX)
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread_ms)
        self._look()

    def data_received(self, data: bytes) -> None:
        """Take what came, and look what is waited for next."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Go on; what came already of the next request is waited for."""
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._disarm()
        super().connection_lost(exc)

    def _should_upgrade(self) -> bool:
        """Tell whether it is to be a WebSocket; only a GET is, for others uvicorn would wait."""
        return self.scope["method"] == "GET" and super()._should_upgrade()

    def _look(self) -> None:
        """Arm for the part that is waited for now; one that was waited for already has its time."""
        their = self.conn.their_state
        rests = self.timeout_keep_alive_task is not None and not self.conn.trailing_data[0]
        waits: tuple[object, ...] = ()
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            pass
        elif their is h11.IDLE and not rests:
            waits = "head", self.cycle
        elif their is h11.SEND_BODY:
            waits = "body", self.cycle
        if waits == self._waits:
            return
        self._disarm()
        self._waits = waits
        if waits:
            wait_s = HEAD_S_MAX if waits[0] == "head" else BODY_S_MAX + CUT_S
            self._late = self.loop.call_later(wait_s, self._cut)

    def _disarm(self) -> None:
        self._waits = ()
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _cut(self) -> None:
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self.transport.write(LATE)
        self.transport.close()
        self.loop.call_later(CUT_S, self.transport.abort)


class CuttingProtocol(WebSocketsSansIOProtocol):
    """Closes a connection whose buffer is full: uvicorn would wait for the client, for ever.

    It also sends frames that are made already. They are whole and without extensions, so nothing of
    the protocol's state is about them.
    """

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that makes no handshake is nothing to wait for."""
        super().data_received(data)
        if not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(BAD)
            self.transport.close()

    async def send(self, message: Any) -> None:
        """Send; a close goes out behind what waits, and after CUT_S the connection is dropped."""
        if FRAME in message:
            await self.writable.wait()
            if self.disconnected or self.close_sent or self.transport.is_closing():
                raise ClientDisconnected
            self.transport.write(message[FRAME])
            return
        if message["type"] == "websocket.close" and not self.writable.is_set():
            self.writable.set()
            self.loop.call_later(CUT_S, self.transport.abort)
        await super().send(message)


def server_of(
    app: FastAPI,
    host: str,
    port: int,
    *,
    certificate: tuple[str, str] | None = None,
) -> uvicorn.Server:
    """Return a server that is not started. certificate: files of it and its key; None: no TLS."""
    chain, key = certificate or (None, None)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        ws=CuttingProtocol,
        http=TimedProtocol,
        loop="asyncio",
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # who calls decides what is allowed: nobody may say it for others
        server_header=False,
        backlog=BACKLOG,
        limit_concurrency=CONNECTIONS_MAX,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        timeout_graceful_shutdown=STOP_S_MAX,
        ws_max_size=MESSAGE_BYTES_MAX,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,
        ssl_certfile=chain,
        ssl_keyfile=key,
    )
    return uvicorn.Server(config)

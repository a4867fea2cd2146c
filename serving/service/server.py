"""The server of HTTP and WebSocket: uvicorn, and what it lacks for clients that are slow."""

from __future__ import annotations

from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from serving.service.limits import MESSAGE_BYTES_MAX

CUT_S = 2.0
"""Time that a client has to hear why it is cut, before its connection is dropped."""

BACKLOG = 1_024
CONNECTIONS_MAX = 8_000
HEAD_BYTES_MAX = 32 * 1024
STOP_S_MAX = 3
PING_S = 20.0


FRAME = "frame"
"""In a message to send: the WebSocket frame itself, made once for many clients."""


class CuttingProtocol(WebSocketsSansIOProtocol):
    """Closes a connection whose buffer is full: uvicorn would wait for the client, for ever.

    It also sends frames that are made already. They are whole and without extensions, so nothing of
    the protocol's state is about them.
    """

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
        http="h11",
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

"""A loopback WebSocket that speaks a venue's protocol and sends what was recorded of it.

The first connection is cut in the middle, without a closing handshake. The next one goes on from
there; trades that have ids are sent again from a little before, as venues may.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve

from tests.in_thread import InThread

START_S_MAX = 120.0
AGAIN = 20
"""The last frames before the cut that are sent again, of those that may be."""

Answer = Callable[[str, dict[str, Any]], list[dict[str, Any]]]


def coinbase(path: str, order: dict[str, Any]) -> list[dict[str, Any]]:
    """Confirm all channels at once."""
    assert order["type"] == "subscribe"
    channels = [{"name": n, "product_ids": order["product_ids"]} for n in order["channels"]]
    return [{"type": "subscriptions", "channels": channels}]


def kraken(path: str, order: dict[str, Any]) -> list[dict[str, Any]]:
    """Confirm each symbol of the channel."""
    assert order["method"] == "subscribe"
    named = order["params"]
    return [
        {
            "method": "subscribe",
            "result": {"channel": named["channel"], "symbol": symbol, "snapshot": False},
            "success": True,
        }
        for symbol in named["symbol"]
    ]


def binance(path: str, order: dict[str, Any]) -> list[dict[str, Any]]:
    """List what the address subscribes to."""
    assert order["method"] == "LIST_SUBSCRIPTIONS"
    streams = parse_qs(urlsplit(path).query)["streams"][0].split("/")
    return [{"result": streams, "id": order["id"]}]


VENUES: dict[str, tuple[Answer, int]] = {
    "coinbase": (coinbase, 1),
    "kraken": (kraken, 2),
    "binance": (binance, 1),
}
"""Venue -> how it answers, and how many orders its client sends before there is data."""


class VenueSocket(InThread):
    """One venue on a free port, from `with` to its end."""

    start_s_max = end_s_max = START_S_MAX

    def __init__(self, venue: str, frames: Sequence[bytes], again: Collection[bytes]) -> None:
        """frames: what is sent in all; again: those that may come twice."""
        super().__init__()
        self._answer, self._orders = VENUES[venue]
        middle = len(frames) // 2
        repeated = [frame for frame in frames[:middle] if frame in again][-AGAIN:]
        self._parts = [list(frames[:middle]), [*repeated, *frames[middle:]]]
        self.url = ""
        self.connections = 0
        self.repeated = len(repeated)

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve on a free port."""
        async with serve(self._serve, "127.0.0.1", 0, ping_interval=None) as server:
            self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self._ready.set()
            await stop.wait()

    async def _serve(self, socket: ServerConnection) -> None:
        part = self._parts[self.connections] if self.connections < len(self._parts) else []
        self.connections += 1
        assert socket.request is not None
        for _ in range(self._orders):
            for reply in self._answer(socket.request.path, json.loads(await socket.recv())):
                await socket.send(json.dumps(reply))
        for frame in part:
            await socket.send(frame.decode())
        if self.connections == 1:
            # A cut throws away what the other side has not read; a pong says that it has.
            await (await socket.ping())
            socket.transport.abort()
        await socket.wait_closed()

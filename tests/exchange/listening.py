"""A plain client of the simulated exchange, for its tests: it checks nothing and keeps all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from infra.exchange.exchange import Exchange
from infra.exchange.history import HistoryLimits
from infra.exchange.options import ExchangeOptions

ANSWER_S_MAX = 60.0
REST_S = 0.1
"""What was sent last is read within this time."""

BASE_US = 1_760_000_000_000_000
"""A time of the first event that is the same in every run."""

Event = dict[str, Any]


@asynccontextmanager
async def exchange(
    *, limits: HistoryLimits | None = None, **options: Any
) -> AsyncIterator[tuple[Exchange, str]]:
    """Run an exchange on a free port; yield it with its address."""
    running = Exchange(ExchangeOptions(port=0, **options), limits=limits)
    url = await running.start()
    try:
        yield running, url
    finally:
        await running.stop()


@asynccontextmanager
async def greeted(url: str) -> AsyncIterator[ClientConnection]:
    """Connect and take the greeting."""
    async with connect(url, compression=None, max_size=None, proxy=None) as socket:
        assert await statuses(socket, 1) == ["connected"]
        yield socket


@asynccontextmanager
async def subscribed(url: str, *topics: str, key: str = "any") -> AsyncIterator[ClientConnection]:
    """Connect, authenticate and subscribe; answers to that are still to be read."""
    async with greeted(url) as socket:
        await say(socket, "auth", key)
        assert await statuses(socket, 1) == ["auth_success"]
        await say(socket, "subscribe", ",".join(topics))
        yield socket


async def say(socket: ClientConnection, action: str, params: str) -> None:
    """Send an action."""
    await socket.send(json.dumps({"action": action, "params": params}))


async def answers(socket: ClientConnection, count: int) -> list[Event]:
    """Return the next status events, leaving out data."""
    found: list[Event] = []
    while len(found) < count:
        frame = await asyncio.wait_for(socket.recv(), ANSWER_S_MAX)
        found += [event for event in json.loads(frame) if event["ev"] == "status"]
    return found


async def statuses(socket: ClientConnection, count: int) -> list[str]:
    """Return the statuses of the next answers."""
    return [event["status"] for event in await answers(socket, count)]


async def frames_for(socket: ClientConnection, seconds: float) -> list[bytes]:
    """Return every frame until the time is over or the connection ends."""
    frames: list[bytes] = []

    async def gather() -> None:
        while True:
            frames.append(await socket.recv(decode=False))

    try:
        await asyncio.wait_for(gather(), seconds)
    except (TimeoutError, ConnectionClosed):
        return frames
    return frames


async def events_until(
    socket: ClientConnection, enough: Callable[[list[Event]], object]
) -> list[Event]:
    """Return events, statuses left out, until they are enough."""
    found: list[Event] = []
    async with asyncio.timeout(ANSWER_S_MAX):
        while not enough(found):
            found += events([await socket.recv(decode=False)])
    return found


async def frames_of_all(running: Exchange, socket: ClientConnection) -> list[bytes]:
    """Return every frame of an exchange that sends a limited number of events."""
    gathering = asyncio.create_task(frames_for(socket, 2 * ANSWER_S_MAX))
    await asyncio.wait_for(running.over.wait(), ANSWER_S_MAX)
    await asyncio.sleep(REST_S)
    await socket.close()
    return await gathering


def events(frames: list[bytes]) -> Iterator[Event]:
    """Yield the events of frames that are JSON arrays, statuses left out."""
    for frame in frames:
        for event in json.loads(frame):
            if event["ev"] != "status":
                yield event

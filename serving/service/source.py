"""The one reader of the workers' updates, and of what is asked for now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from anyio import to_thread
from redis.asyncio import Redis
from redis.exceptions import RedisError

from lake.clock import Clock
from lake.errors import TicklakeError
from serving.live.told import UPDATE
from serving.service.board import Board
from serving.service.counts import Counts
from serving.service.hub import Hub
from serving.streams import keys

LOG = logging.getLogger("ticklake.service")
WAIT_MS = 1_000
ENTRIES_AT_ONCE = 100
BEGIN_ENTRIES = 300
"""Updates of a shard that a service which starts reads back."""

AGAIN_S = 0.5
SHARDS_S = 1.0
ANSWER_S_MAX = 3.0
CHECK_S = 1.0


class Source:
    """Reads every shard's updates into the board and the hub; used in one event loop."""

    def __init__(self, url: str, board: Board, hub: Hub, counts: Counts, clock: Clock) -> None:
        self._url = url
        self._board = board
        self._hub = hub
        self._counts = counts
        self._clock = clock
        self._after: dict[bytes, bytes] = {}
        self._shards_us = 0
        self.heard_us: int | None = None
        """When Redis last answered, by the monotonic clock; None: never."""

    def silent_s(self) -> float | None:
        """Return the time since Redis answered; None where it never did."""
        if self.heard_us is None:
            return None
        return (self._clock.monotonic_us() - self.heard_us) / 1e6

    async def run(self) -> None:
        """Read for as long as it is let; while Redis is away it is tried again."""
        while True:
            client = Redis.from_url(self._url, socket_timeout=ANSWER_S_MAX, protocol=2)
            try:
                self._shards_us = 0
                while True:
                    await self._round(client)
            except (RedisError, OSError) as error:
                self._counts.faults.inc()
                LOG.warning("redis: %s", " ".join(str(error).split()))
            finally:
                await client.aclose()
            await asyncio.sleep(AGAIN_S)

    async def _round(self, client: Redis) -> None:
        now_us = self._clock.monotonic_us()
        if not self._shards_us or now_us - self._shards_us > SHARDS_S * 1e6:
            await self._find_shards(client)
            self._shards_us = now_us
        if not self._after:
            self._shards_us = 0
            await asyncio.sleep(AGAIN_S)
            return
        after: Any = self._after
        found: Any = await client.xread(after, count=ENTRIES_AT_ONCE, block=WAIT_MS)
        self.heard_us = self._clock.monotonic_us()
        for stream, entries in found or ():
            for entry_id, fields in entries:
                self._take(fields)
                self._after[stream] = entry_id
        if found:
            age_us = self._clock.now_us() - self._board.received_us
            self._counts.update_age.set(age_us / 1e6)

    async def _find_shards(self, client: Redis) -> None:
        shards: Any = await client.smembers(keys.SHARDS)
        self.heard_us = self._clock.monotonic_us()
        for shard in shards:
            stream = keys.updates(int(shard)).encode()
            if stream in self._after:
                continue
            newest: Any = await client.xrevrange(stream, count=BEGIN_ENTRIES)
            for _, fields in reversed(newest):
                self._take(fields)
            self._after[stream] = newest[0][0] if newest else b"0-0"

    def _take(self, fields: Mapping[bytes, bytes]) -> None:
        try:
            update = orjson.loads(fields[UPDATE])
            items = self._board.take(update)
        except (KeyError, TypeError, ValueError) as error:
            LOG.warning("an update can't be read: %r", error)
            return
        self._counts.updates.inc()
        self._hub.put(items)


class Asked:
    """Asks for a topic every so often, in a thread, and tells the hub what it is."""

    def __init__(self, hub: Hub, name: str, ask: Callable[[], Any], every_s: float) -> None:
        self._hub = hub
        self._name = name
        self._ask = ask
        self._every_s = every_s

    async def run(self) -> None:
        """Ask for as long as it is let; what can't be asked now is a topic with its fault."""
        while True:
            try:
                said: Any = await to_thread.run_sync(self._ask)
            except TicklakeError as error:
                said = {"fault": str(error)}
            except Exception as error:  # whatever it is, it is asked again
                LOG.exception("%s", self._name)
                said = {"fault": type(error).__name__}
            self._hub.put_topic(self._name, orjson.dumps(said, default=str))
            await asyncio.sleep(self._every_s)


async def watch_slow(hub: Hub) -> None:
    """Mark slow clients, for as long as it is let."""
    while True:
        await asyncio.sleep(CHECK_S)
        hub.cut_slow()

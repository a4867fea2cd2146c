"""Whether the frames that something rests on are on the disk yet."""

from __future__ import annotations

import threading
from typing import Protocol

from redis import Redis
from redis.exceptions import RedisError

from lake.clock import Clock
from lake.errors import Refused, Unavailable
from serving.desk.market import Rest
from serving.streams.durable_watch import Answer, DurableWatch

LOOK_MS = 20
"""How long one look waits for a newer mark."""

AGAIN_S = 1.0
REST_S_MAX = 2.0
"""How long an order waits for its frames."""


class Rests(Protocol):
    """Whoever knows; any thread may ask."""

    def about(self, rest: Rest | None, wait_ms: int = 0) -> Answer:
        """Tell whether all of it is durable; wait so long for what is not. Raises Unavailable.

        void: some of it is lost, or nobody said what it rests on: it is not to be used.
        """


class FrameRests:
    """As the ingests say it in Redis. Who must not wait for others has one of its own."""

    def __init__(self, client: Redis, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._away_us: int | None = None
        self._lock = threading.Lock()
        self._watches: dict[int, DurableWatch] = {}

    def about(self, rest: Rest | None, wait_ms: int = 0) -> Answer:
        """Tell whether all of it is durable; see Rests."""
        if rest is None or not rest.frames:
            return "void"
        with self._lock:
            watch = self._watches.get(rest.shard)
            if watch is None:
                watch = self._watches[rest.shard] = DurableWatch(self._client, rest.shard)
            found = _worst(watch, rest)
            if found != "waiting":
                return found
            self._refresh(watch, rest, wait_ms)
            return _worst(watch, rest)

    def _refresh(self, watch: DurableWatch, rest: Rest, wait_ms: int) -> None:
        """Have the disk hurry and ask Redis; one that was away a moment ago is not waited for."""
        now_us = self._clock.monotonic_us()
        away = Unavailable("redis", "can't say which frames are durable", "see: ticklake status")
        if self._away_us is not None and now_us - self._away_us < AGAIN_S * 1e6:
            raise away
        try:
            for each in rest.frames:
                watch.want(each)
            watch.refresh(wait_ms)
        except RedisError as error:
            self._away_us = self._clock.monotonic_us()
            raise away from error
        self._away_us = None


def hold_until_durable(rests: Rests, rest: Rest | None, clock: Clock) -> None:
    """Return once all of it is on the disk; Refused where it is lost, or not there in time."""
    until_us = clock.monotonic_us() + int(REST_S_MAX * 1e6)
    while (found := rests.about(rest, LOOK_MS)) == "waiting":
        if clock.monotonic_us() >= until_us:
            fault = f"is of frames that are not on the disk after {REST_S_MAX:g} s"
            raise Refused("price", fault, "ask again")
    if found == "void":
        raise Refused("price", "is of frames that were lost, or of none", "ask again")


def is_durable(rests: Rests, rest: Rest | None, clock: Clock) -> bool:
    """Tell whether all of it is on the disk, after as long a wait; False where nobody knows."""
    try:
        hold_until_durable(rests, rest, clock)
    except (Refused, Unavailable):
        return False
    return True


def _worst(watch: DurableWatch, rest: Rest) -> Answer:
    said = {watch.about(each) for each in rest.frames}
    if "void" in said:
        return "void"
    return "waiting" if "waiting" in said else "durable"

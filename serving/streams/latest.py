"""The latest price and sentiment by instrument, for whoever asks; what is old is not there.

A key expires by itself, so a reader can't take an old price for a new one. An older value never
takes the place of a newer one: both go by event time, then by the place in the journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from redis import Redis
from redis.client import Pipeline

from serving.streams import keys

PRICE_MS = 5_000
SENTIMENT_MS = 300_000
"""How long a value is kept, from when it was set."""

SET_IF_NEWER = """
local known = redis.call('hmget', KEYS[1], 't', 's')
if known[1] then
  local time, seq = tonumber(known[1]), tonumber(known[2])
  local given, place = tonumber(ARGV[1]), tonumber(ARGV[2])
  if given < time or (given == time and place <= seq) then return 0 end
end
redis.call('hset', KEYS[1], 't', ARGV[1], 's', ARGV[2], 'v', ARGV[3])
redis.call('pexpire', KEYS[1], ARGV[4])
return 1
"""
"""Numbers here are doubles, exact up to 2^53: microseconds until the year 2255, and a seq with its
frame in the upper part up to 137 billion frames."""


def put(
    pipe: Pipeline, key: str, time_us: int, seq: int, value: Mapping[str, Any], ms: int
) -> None:
    """Add to a transaction: set the value unless a newer one is there.

    time_us: event time, UTC; seq: of the row. value: what JSON holds; prices as text.
    """
    pipe.eval(SET_IF_NEWER, 1, key, str(time_us), str(seq), orjson.dumps(value), str(ms))


def latest(client: Redis, key: str) -> dict[str, Any] | None:
    """Return the value with its event_time_us and seq; None where there is none, or it is old."""
    found: Any = client.hgetall(key)
    if not found:
        return None
    times = {"event_time_us": int(found[b"t"]), "seq": int(found[b"s"])}
    return {**times, **orjson.loads(found[b"v"])}


def price_of(client: Redis, exchange: str, market: str, ticker: str) -> dict[str, Any] | None:
    """Return an instrument's price of the last five seconds, else None."""
    return latest(client, keys.price(exchange, market, ticker))


def sentiment_of(client: Redis, source: str, asset: str) -> dict[str, Any] | None:
    """Return an asset's sentiment of the last five minutes, else None."""
    return latest(client, keys.sentiment(source, asset))

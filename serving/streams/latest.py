"""The latest price and sentiment by instrument, for whoever asks; what is old is not there.

A key expires by itself, so a reader can't take an old price for a new one. An older value never
takes the place of a newer one: both go by event time, then by the place in the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson
from redis import Redis
from redis.client import Pipeline

from serving.streams import keys

PRICE_MS = 5_000
SENTIMENT_MS = 300_000
"""How long a value is kept, from when it was received."""

KEYS_AT_ONCE = 1_000

SET_IF_NEWER = """
local set = 0
for i, key in ipairs(KEYS) do
  local ms, time, place, value = ARGV[4 * i - 3], ARGV[4 * i - 2], ARGV[4 * i - 1], ARGV[4 * i]
  local known = redis.call('hmget', key, 't', 's')
  local is_newer = not known[1]
  if known[1] then
    local given, at = tonumber(time), tonumber(known[1])
    is_newer = given > at or (given == at and tonumber(place) > tonumber(known[2]))
  end
  if is_newer then
    redis.call('hset', key, 't', time, 's', place, 'v', value)
    redis.call('pexpire', key, ms)
    set = set + 1
  end
end
return set
"""
"""Numbers here are doubles, exact up to 2^53: microseconds until the year 2255, and a seq with its
frame in the upper part up to 137 billion frames."""


class Value(NamedTuple):
    """What is to be kept under a key. time_us: event time, UTC; seq: of the row; value: what JSON
    holds; prices as text. age_ms: how long ago it was received.
    """

    key: str
    time_us: int
    seq: int
    value: Mapping[str, Any]
    age_ms: int = 0


def put(pipe: Pipeline, values: Iterable[Value], ms: int) -> None:
    """Add to a transaction, as one command: set each value unless a newer one is there.

    ms: how long they are kept from their receipt on; what is older is left out.
    """
    given = [each for each in values if each.age_ms < ms]
    if not given:
        return
    names = [each.key for each in given]
    said = [
        part
        for each in given
        for part in (
            *(str(ms - each.age_ms), str(each.time_us), str(each.seq)),
            orjson.dumps(each.value),
        )
    ]
    pipe.eval(SET_IF_NEWER, len(names), *names, *said)


def latest(client: Redis, key: str) -> dict[str, Any] | None:
    """Return the value with its event_time_us and seq; None where there is none, or it is old."""
    found: Any = client.hgetall(key)
    if not found:
        return None
    times = {"event_time_us": int(found[b"t"]), "seq": int(found[b"s"])}
    return {**times, **orjson.loads(found[b"v"])}


def sentiments(client: Redis) -> list[dict[str, Any]]:
    """Return each asset's sentiment of the last five minutes, with source, asset, event_time_us and
    seq, by their names.
    """
    found = []
    for raw in sorted(client.scan_iter(keys.sentiment("*", "*"), KEYS_AT_ONCE)):
        source, _, asset = raw.decode().removeprefix(keys.sentiment("", "")[:-1]).rpartition(":")
        held = latest(client, raw.decode())
        if held is not None:  # it may expire meanwhile
            found.append({"source": source, "asset": asset, **held})
    return found

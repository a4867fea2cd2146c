"""What a worker tells whoever shows it: newest prices and quotes, closed bars, their features.

Each round becomes one entry of the shard's stream of updates, in the transaction that acknowledges
the round; it names the frames that it rests on, since they may not be durable yet. A service reads
the stream and needs no codec; the newest bars and features of each instrument are kept beside it,
for a service that starts. All of it is bounded, and may be lost: the lake has the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from redis.client import Pipeline

from serving.live.newest import INSTRUMENT, QUOTES, newest, texts
from serving.live.worker import Round
from serving.streams import keys

UPDATES_MAX = 5_000
"""Entries that a shard's stream of updates keeps: minutes of them."""

BARS_MAX = 500
"""Bars that are kept of each instrument and interval."""

SHOWN_INTERVALS = ("1m", "5m", "1h")

FEATURES_MS = 3_600_000
"""How long the newest features of an instrument are kept."""

UPDATE = b"u"
KNOWN = ("live_time", "available_time")
"""When features were known: live, or else by the lake."""

MICROSECONDS = pa.timestamp("us", "UTC")
BAR = ("open", "high", "low", "close", "volume", "trades")
KEPT_BAR = """
redis.call('zremrangebyscore', KEYS[1], ARGV[1], ARGV[1])
if ARGV[2] ~= '' then redis.call('zadd', KEYS[1], ARGV[1], ARGV[2]) end
redis.call('zremrangebyrank', KEYS[1], 0, -tonumber(ARGV[3]) - 1)
return 1
"""


class Teller:
    """Effects of one shard's worker."""

    def __init__(self, shard: int) -> None:
        self._shard = shard
        self._stream = keys.updates(shard)

    def __call__(self, pipe: Pipeline, given: Round) -> None:
        """Add the round's update, if it has anything to tell."""
        rows = {
            "prices": given.prices,
            "quotes": newest(given.tables.get("crypto_quotes"), INSTRUMENT, QUOTES),
            "bars": bar_rows(given.bars),
            "gone": bar_rows(given.gone),
            "features": _newest_features(given.features),
        }
        if not any(rows.values()) and not given.dropped:
            return
        update = {
            "received_us": given.received_us,
            "dropped": given.dropped,
            "shard": self._shard,
            "frames": [list(each) for each in given.frames],
            **rows,
        }
        pipe.sadd(keys.SHARDS, self._shard)
        entry: Any = {UPDATE: orjson.dumps(update)}
        pipe.xadd(self._stream, entry, maxlen=UPDATES_MAX, approximate=True)
        for name in ("bars", "gone"):
            for bar in rows[name]:
                _keep_bar(pipe, bar, keep=name == "bars")
        for row in rows["features"]:
            key = keys.features(*(row[name] for name in INSTRUMENT))
            pipe.set(key, orjson.dumps(row), px=FEATURES_MS)


def bar_rows(rows: pa.Table | None) -> list[dict[str, Any]]:
    """Return bars of SHOWN_INTERVALS as they are told: amounts are text, t is when it began."""
    if rows is None or not rows.num_rows:
        return []
    shown = rows.filter(pc.is_in(rows["interval"], pa.array(SHOWN_INTERVALS)))
    amounts = {name: texts(shown[name]) for name in BAR if name in shown.column_names}
    said = [name for name in ("change", "degraded") if name in shown.column_names]
    rest = {name: shown[name].to_pylist() for name in said}
    return _rows({**_columns(shown), **amounts, **rest})


def feature_rows(rows: pa.Table) -> list[dict[str, Any]]:
    """Return features of minutes as they are told, in their order; known: from when on they are."""
    floats = [field.name for field in rows.schema if pa.types.is_floating(field.type)]
    minutes = rows.filter(pc.equal(rows["interval"], "1m")).sort_by("event_time")
    known = [minutes[name] for name in KNOWN if name in rows.column_names]
    is_marked = "degraded" in rows.column_names
    marks = minutes["degraded"].to_pylist() if is_marked else [[]] * minutes.num_rows
    values = {name: minutes[name].to_pylist() for name in floats}
    columns = {"known": _us(pc.coalesce(*known)), "degraded": marks}
    return _rows({**_columns(minutes), **columns, "values": _rows(values)})


def _newest_features(rows: pa.Table | None) -> list[dict[str, Any]]:
    """Return the newest row of each instrument; minutes close once a minute."""
    if rows is None or not rows.num_rows:
        return []
    return list({tuple(_names(row).values()): row for row in feature_rows(rows)}.values())


def _keep_bar(pipe: Pipeline, bar: Mapping[str, Any], keep: bool) -> None:
    key = keys.bars(bar["exchange"], bar["market"], bar["ticker"], bar["interval"])
    value = orjson.dumps(bar) if keep else b""
    pipe.eval(KEPT_BAR, 1, key, str(bar["t"]), value, str(BARS_MAX))


def _names(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in INSTRUMENT}


def _columns(rows: pa.Table) -> dict[str, list[Any]]:
    """Return the columns that bars and features have in common."""
    names = {name: rows[name].to_pylist() for name in (*INSTRUMENT, "interval")}
    return {**names, "t": _us(rows["event_time"])}


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _us(times: pa.ChunkedArray) -> list[int]:
    """Return times in whole microseconds since the epoch, UTC."""
    found: list[int] = times.cast(MICROSECONDS).cast(pa.int64()).to_pylist()
    return found

"""What a worker tells whoever shows it: newest prices and quotes, closed bars, their features.

Features of minutes have a stream of their own too, for models, which need not wake for every round.
What is made ready of a minute that is about to close is told ahead there, for whoever works on it
in the meantime; its close then says that it is so, or what else, where something came between.

Each round becomes one entry of the shard's stream of updates, in the transaction that acknowledges
the round; it names the frames that it rests on, since they may not be durable yet. A service reads
the stream and needs no codec; the newest bars and features of each instrument are kept beside it,
for a service that starts, in a transaction some rounds later, since models wait for the first. All
of it is bounded, and may be lost: the lake has the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from redis import Redis
from redis.client import Pipeline

from serving.live.live_bars import CHANGE, CLOSED
from serving.live.newest import INSTRUMENT, texts
from serving.live.worker import AFTER_ROUNDS, Round
from serving.streams import keys
from serving.streams.bound import entries_kept

UPDATES_MIN, UPDATES_MAX, UPDATES_BYTES = 20, 5_000, 64_000_000
"""Entries that a shard's stream of updates keeps: as many as take about so many bytes."""

MEAN_OF = 256
"""Entries whose mean says how many that is."""

BARS_MAX = 500
"""Bars that are kept of each instrument and interval."""

SHOWN_INTERVALS = ("1m", "5m", "1h")

FEATURES_MS = 3_600_000
"""How long the newest features of an instrument are kept."""

UPDATE, AHEAD, SAME, ANEW, MISSED, AGAIN = b"u", b"f", b"s", b"n", b"m", b"c"
"""Fields of entries. An update of minutes has the newest row of each instrument, or the digest() of
what was told ahead last and has become so: a few bytes, since signals wait for them. MISSED: the
first rows of minutes before those, where a worker was away; AGAIN: the places of rows that are
corrected, and were there before. ANEW: minutes may lack between those told so far and these.
"""

WINDOW_MAX = 64
"""Minutes that the stream of minutes is meant to keep: the longest window of a model's."""

MINUTES_MIN, MINUTES_MAX, MINUTES_BYTES = 20, 3 * WINDOW_MAX, 32_000_000
"""Entries that it keeps, two or more for a minute: as many as take so many bytes."""

MISSED_ROWS_MAX = 50_000
"""Rows, some 30 MB; who was away for longer begins anew."""

FEATURES = b'{"features":'
KNOWN = ("live_time", "available_time")
"""When features were known: live, or else by the lake."""

MICROSECONDS = pa.timestamp("us", "UTC")
BAR = ("open", "high", "low", "close", "volume", "trades")
KEEP_BARS = """
for i, key in ipairs(KEYS) do
  local time, bar = ARGV[2 * i], ARGV[2 * i + 1]
  redis.call('zremrangebyscore', key, time, time)
  if bar ~= '' then redis.call('zadd', key, time, bar) end
  redis.call('zremrangebyrank', key, 0, -tonumber(ARGV[1]) - 1)
end
return 1
"""
KEEP_FEATURES = """
for i, key in ipairs(KEYS) do redis.call('set', key, ARGV[i + 1], 'px', ARGV[1]) end
return 1
"""


@dataclass(frozen=True, slots=True)
class _Closing:
    """What is told of a minute that closed, as JSON, and what is kept of it under which names.

    of: the tables that it is made of: bars, bars that are gone, features. features: the newest row
    of each instrument. more: other fields of its entry of the stream of minutes. said: the digest
    of features that are told ahead.
    """

    bars: bytes = b"[]"
    gone: bytes = b"[]"
    features: bytes = b"[]"
    bar_names: tuple[str, ...] = ()
    bar_values: tuple[bytes | str, ...] = ()
    feature_names: tuple[str, ...] = ()
    feature_values: tuple[bytes, ...] = ()
    more: Mapping[bytes, bytes] = field(default_factory=dict)
    said: bytes = b""
    of: tuple[pa.Table | None, ...] = (None, None, None)

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to tell."""
        return not self.bar_names and not self.feature_names


NOTHING = _Closing()


class Teller:
    """Effects of one shard's worker, and what it does after those of a close."""

    def __init__(self, shard: int, *, updates_bytes: int = UPDATES_BYTES) -> None:
        self._shard = shard
        self._stream = keys.updates(shard)
        self._updates_bytes = updates_bytes
        self._mean_bytes = 0.0
        self._ready = NOTHING
        self._told_ahead = NOTHING
        self._told = NOTHING

    def begin(self, client: Redis) -> None:
        """Look for the last close, for afterwards(): who told of it may have died before that."""
        last: Any = client.xrevrange(self._stream, count=AFTER_ROUNDS + 1)
        for _, fields in reversed(last):
            try:
                said = orjson.loads(fields[UPDATE])
                made = _closing_of(said["bars"], said["gone"], said["features"])
            except (KeyError, TypeError, ValueError):
                continue  # of a worker of another version
            if not made.is_empty:
                self._told = made

    def beforehand(self, bars: pa.Table, gone: pa.Table, features: pa.Table) -> None:
        """Make ready what is told of a round with these; another thread may."""
        made = _closing(bars, gone, features)
        self._ready = replace(made, said=digest(made.features))

    def anew(self, pipe: Pipeline) -> None:
        """Say that minutes may lack between those told so far and those to come."""
        self._tell_minute(pipe, {ANEW: b""})

    def __call__(self, pipe: Pipeline, given: Round) -> None:
        """Add the round's update, if it has anything to tell."""
        closing = self._closing(given)
        if given.bars is not None:
            self._told = closing
        ready = self._ready
        if ready.feature_names and ready is not closing and ready is not self._told_ahead:
            self._told_ahead = ready
            self._tell_minute(pipe, {AHEAD: ready.features})
        rows = {"prices": given.prices, "quotes": given.quotes}
        if not any(rows.values()) and not given.dropped and closing.is_empty:
            return
        update = {
            "received_us": given.received_us,
            "dropped": given.dropped,
            "shard": self._shard,
            "frames": [list(each) for each in given.frames],
            **rows,
            "bars": orjson.Fragment(closing.bars),
            "gone": orjson.Fragment(closing.gone),
            "features": orjson.Fragment(closing.features),
        }
        pipe.sadd(keys.SHARDS, self._shard)
        raw = orjson.dumps(update)
        entry: Any = {UPDATE: raw}
        pipe.xadd(self._stream, entry, maxlen=self._updates_kept(len(raw)), approximate=True)
        if closing.feature_names:
            told = dict(closing.more)
            if closing is self._told_ahead:
                told[SAME] = closing.said
            else:
                told[UPDATE] = FEATURES + closing.features + b"}"
            self._tell_minute(pipe, told)

    def afterwards(self, pipe: Pipeline) -> None:
        """Keep what was told of the last close; to do it again changes nothing."""
        told = self._told
        for script, names, kept in (
            (KEEP_BARS, told.bar_names, (str(BARS_MAX), *told.bar_values)),
            (KEEP_FEATURES, told.feature_names, (str(FEATURES_MS), *told.feature_values)),
        ):
            if names:
                pipe.eval(script, len(names), *names, *kept)

    def _updates_kept(self, size: int) -> int:
        """Return how many entries the stream is to keep, with one of this size."""
        mean = self._mean_bytes or size
        self._mean_bytes = mean + (size - mean) / MEAN_OF
        return entries_kept(self._updates_bytes, self._mean_bytes, UPDATES_MIN, UPDATES_MAX)

    def _tell_minute(self, pipe: Pipeline, entry: Mapping[bytes, bytes]) -> None:
        size = sum(map(len, entry.values()))
        kept = entries_kept(MINUTES_BYTES, size, MINUTES_MIN, MINUTES_MAX)
        pipe.xadd(keys.minutes(self._shard), cast("Any", entry), maxlen=kept)

    def _closing(self, given: Round) -> _Closing:
        of = given.bars, given.gone, given.features
        if all(one is other for one, other in zip(self._ready.of, of, strict=True)):
            return self._ready
        return _closing(*of) if given.bars is not None else NOTHING


def digest(features: bytes) -> bytes:
    """Return what tells features that are told ahead from others."""
    return hashlib.blake2b(features, digest_size=16).digest()


def _closing(bars: pa.Table | None, gone: pa.Table | None, features: pa.Table | None) -> _Closing:
    rows = feature_rows(features) if features is not None and features.num_rows else []
    newest = list({_instrument(row): row for row in rows}.values())
    made = _closing_of(bar_rows(bars), bar_rows(gone), newest)
    return replace(made, of=(bars, gone, features), more=_more(features, rows, newest))


def _closing_of(
    put: Sequence[Mapping[str, Any]],
    dropped: Sequence[Mapping[str, Any]],
    newest: Sequence[Mapping[str, Any]],
) -> _Closing:
    every = [(bar, orjson.dumps(bar)) for bar in put] + [(bar, b"") for bar in dropped]
    said = [orjson.dumps(row) for row in newest]
    return _Closing(
        _listed(value for bar, value in every if value),
        orjson.dumps(dropped),
        _listed(said),
        tuple(_bar_name(bar) for bar, _ in every),
        tuple(part for bar, value in every for part in (str(bar["t"]), value)),
        tuple(keys.features(*_instrument(row)) for row in newest),
        tuple(said),
    )


def _more(
    features: pa.Table | None,
    rows: Sequence[Mapping[str, Any]],
    newest: Sequence[Mapping[str, Any]],
) -> dict[bytes, bytes]:
    """Return the further fields of an update of minutes, each where there is anything to say."""
    found: dict[bytes, bytes] = {}
    corrected = _corrected(features)
    again = [n for n, row in enumerate(newest) if _place(row) in corrected]
    if again:
        found[AGAIN] = orjson.dumps(again)
    told = corrected | {_place(row) for row in newest}
    missed = [row for row in rows if _place(row) not in told]
    if len(missed) > MISSED_ROWS_MAX:
        found[ANEW] = b""
    elif missed:
        found[MISSED] = FEATURES + orjson.dumps(missed) + b"}"
    return found


def _corrected(features: pa.Table | None) -> set[tuple[Any, ...]]:
    """Return the places of rows that were there before."""
    if features is None or CHANGE not in features.column_names:
        return set()
    found = features.filter(pc.not_equal(features[CHANGE], CLOSED))
    return {_place(row) for row in feature_rows(found)} if found.num_rows else set()


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (*_instrument(row), row["t"])


def _instrument(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in INSTRUMENT)


def _listed(texts: Iterable[bytes]) -> bytes:
    """Return texts of JSON as an array of it."""
    return b"[" + b",".join(texts) + b"]"


def _bar_name(bar: Mapping[str, Any]) -> str:
    return keys.bars(bar["exchange"], bar["market"], bar["ticker"], bar["interval"])


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

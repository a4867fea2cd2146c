"""Newest values in the speed layer, in Feast's format: read many at once, written if not older.

A value is written only over one that is not newer, in one step of the server, so that a slow
writer never takes a pushed value back. It leaves when it is older than its view's ttl, as it then
leaves the joins, whatever other views of its series hold: the server forgets each field by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import redis
from redis.exceptions import RedisClusterException

from feature_repo.store import wire
from feature_repo.store.place import PROJECT
from feature_repo.store.views import View
from lake.closes import Closes
from lake.errors import Damaged, Unavailable
from lake.state import RUN_UP, remedy

US = pa.timestamp("us", "UTC")
ANSWER_S_MAX = 2.0
"""Seconds that the server has for an answer."""

SERIES_AT_ONCE_MAX = 1_000
"""Series of one round trip."""

TRIES_MAX = 3
"""Times a value is tried that another writer changed meanwhile."""

MARKS = "ticklake:online"
"""Hash: view -> when the lake was last read whole for it, and what that wrote."""

_HELD = """
local held = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if held ~= ARGV[2] then return 0 end
"""

_LEAVES = """
local done = redis.pcall('HPEXPIRE', KEYS[1], ARGV[3], 'FIELDS', #fields, unpack(fields))
if not done.err then
  redis.call('PERSIST', KEYS[1])
elseif redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
"""
"""ARGV of all: the field of a view's time, what it must hold, milliseconds to live.

A server older than Redis 7.4 or Valkey 9 forgets no fields: there a series leaves as a whole, with
the view of it that lives longest.
"""

_PUT = f"""{_HELD}
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
local fields = {{}}
for n = 4, #ARGV, 2 do fields[#fields + 1] = ARGV[n] end
{_LEAVES}"""
"""ARGV, then: fields and values."""

_EXPIRE = f"""{_HELD}
local fields = {{unpack(ARGV, 4)}}
{_LEAVES}"""
"""ARGV, then: fields."""

FAULTS = (redis.RedisError, RedisClusterException, OSError)
"""What a server, or a cluster of them, may say; the second is no RedisError."""

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Mark:
    """One whole writing of a view: when the lake was read, microseconds, and its rows."""

    read_us: int
    rows: int


@dataclass(frozen=True, slots=True)
class Put:
    """What a writing did: values written, and left as they are newer."""

    written: int
    newer: int


@dataclass(frozen=True, slots=True)
class Values:
    """What is served of some series, in their order.

    event_us: event times in microseconds, -1 where nothing is served; bits: (series, features),
    float64 as int64; there: which of them are not null; known_us: when each was known, -1 where who
    wrote it did not say.
    """

    features: tuple[str, ...]
    event_us: wire.Ints
    bits: wire.Ints
    there: Bools
    known_us: wire.Ints

    def table(self) -> pa.Table:
        """Return event_time (timestamp[us, UTC], null where nothing is served) and the features."""
        times = pa.array(self.event_us, mask=self.event_us < 0).cast(US)
        columns = {"event_time": times}
        for number, name in enumerate(self.features):
            values = np.ascontiguousarray(self.bits[:, number]).view(np.float64)
            columns[name] = pa.array(values, mask=~self.there[:, number])
        return pa.table(columns)


@contextmanager
def faults_of(url: str) -> Iterator[None]:
    """Say in one sentence what is wrong with the server at this address."""
    try:
        yield
    except FAULTS as error:
        raise fault_of(url, error) from error


def fault_of(url: str, error: Exception) -> Unavailable:
    """Return the sentence; the address without its password."""
    parts = urlsplit(url)
    said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    place = f"online store at {parts.hostname}:{parts.port}"
    return Unavailable(place, said, remedy(said, RUN_UP))


def expire(
    client: redis.Redis,
    written: Iterable[tuple[bytes, int]],
    view: str,
    columns: Iterable[str],
    ttl: timedelta,
    now_us: int,
) -> None:
    """Let values that another writer of Feast's format wrote leave with their view's ttl.

    written: keys of series, and the event time that was written there, microseconds. What is newer
    by now has its own end.
    """
    time = wire.time_field(view)
    fields = [time, *(wire.field(view, each) for each in columns)]
    pipe = client.pipeline(transaction=False)
    for key, at_us in written:
        left_ms = _left_ms(at_us, ttl, now_us)
        pipe.eval(_EXPIRE, 1, key, time, wire.time_bytes(at_us), left_ms, *fields)
    pipe.execute()


def connect(url: str) -> redis.Redis | redis.RedisCluster:
    """Return a client that says at once when the server is not there.

    Where the server is a node of a Redis Cluster, it is one of the cluster: every command of ours
    is about one key. Raises Unavailable for a cluster that is not whole.
    """
    waits = {"socket_timeout": ANSWER_S_MAX, "socket_connect_timeout": ANSWER_S_MAX}
    client = redis.Redis.from_url(url, **waits, retry=None)
    with suppress(redis.RedisError, OSError):  # who is away says so when it is asked
        if client.info("cluster").get("cluster_enabled"):
            client.close()
            with faults_of(url):
                return redis.RedisCluster.from_url(url, **waits)
    return client


class Served(Closes):
    """The served values of one lakehouse; one thread uses it at a time. A context manager."""

    def __init__(self, url: str, *, project: str = PROJECT) -> None:
        self._url = url
        self._project = project
        self._redis = connect(url)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def read(
        self, series: Sequence[tuple[str, str, str, str]], view: View, features: Sequence[str] = ()
    ) -> Values:
        """Return what is served of series (ticker, exchange, market, interval), all at once.

        features: of the view, all of it without. Raises Unavailable; Damaged for values that are
        not what Feast writes.
        """
        names = tuple(features) or view.columns
        times_of = wire.known_field(view.name), wire.time_field(view.name)
        fields = [*(wire.field(view.name, each) for each in names), *times_of]
        held: list[list[bytes | None]] = []
        with faults_of(self._url):
            for first in range(0, len(series), SERIES_AT_ONCE_MAX):
                pipe = self._redis.pipeline(transaction=False)
                for each in series[first : first + SERIES_AT_ONCE_MAX]:
                    pipe.hmget(self._key(each), fields)
                held += pipe.execute()
        try:
            times = [-1 if row[-1] is None else wire.time_us(row[-1]) for row in held]
            known = [wire.known_us(row[-2], at) for row, at in zip(held, times, strict=True)]
            bits, there = wire.bits([each for row in held for each in row[:-2]])
        except ValueError as error:
            raise Damaged(
                "online store", f"{view.name} holds bytes that are {error}", "write it anew"
            ) from error
        shape = (len(series), len(names))
        found = bits.reshape(shape), there.reshape(shape)
        return Values(names, np.array(times, np.int64), *found, np.array(known, np.int64))

    def write(self, rows: pa.Table, view: View, now_us: int) -> Put:
        """Write rows of features_market, one a series, but for those that are newer there.

        rows: ticker, exchange, market, interval, event_time and the view's features; none older
        than the ttl at now_us, microseconds. available_time, where they have it, is said with them.
        """
        put = Put(0, 0)
        for first in range(0, rows.num_rows, SERIES_AT_ONCE_MAX):
            done = self._write(_Batch(rows.slice(first, SERIES_AT_ONCE_MAX), view, self), now_us)
            put = Put(put.written + done.written, put.newer + done.newer)
        return put

    def mark(self, view: View) -> Mark | None:
        """Return the last whole writing of a view; None when there was none."""
        with faults_of(self._url):
            held = self._redis.hget(MARKS, view.name)
        return None if held is None else Mark(**orjson.loads(held))

    def set_mark(self, view: View, mark: Mark) -> None:
        """Say that a view was written whole."""
        with faults_of(self._url):
            self._redis.hset(MARKS, view.name, orjson.dumps(mark))

    def _key(self, series: tuple[str, str, str, str]) -> bytes:
        ticker, exchange, market, interval = series
        return wire.hash_key(self._project, (exchange, interval, market, ticker))

    def _write(self, batch: _Batch, now_us: int) -> Put:
        todo = list(range(len(batch.keys)))
        written = newer = 0
        for _ in range(TRIES_MAX):
            with faults_of(self._url):
                pipe = self._redis.pipeline(transaction=False)
                for n in todo:
                    pipe.hget(batch.keys[n], batch.time)
                held = [each or b"" for each in pipe.execute()]
                older = [
                    (n, was)
                    for n, was in zip(todo, held, strict=True)
                    if not was or wire.time_us(was) <= batch.event_us[n]
                ]
                newer += len(todo) - len(older)
                pipe = self._redis.pipeline(transaction=False)
                for n, was in older:
                    # in a cluster's pipeline `eval` is no command of its own
                    words = batch.arguments(n, was, now_us)
                    pipe.execute_command("EVAL", _PUT, 1, batch.keys[n], *words)
                took = pipe.execute()
            written += sum(took)
            todo = [n for (n, _), done in zip(older, took, strict=True) if not done]
            if not todo:
                break
        return Put(written, newer + len(todo))


class _Batch:
    """Rows as the bytes that stand for them."""

    def __init__(self, rows: pa.Table, view: View, served: Served) -> None:
        series = zip(
            *(rows[each].to_pylist() for each in ("ticker", "exchange", "market", "interval")),
            strict=True,
        )
        self.keys = [served._key(each) for each in series]
        self.event_us = rows["event_time"].cast(pa.int64()).to_numpy()
        self.time = wire.time_field(view.name)
        self._ttl = view.ttl
        self._fields = [wire.field(view.name, each) for each in view.columns]
        self._known = wire.known_field(view.name), _known_us(rows)
        columns = [_bytes(rows[each]) for each in view.columns]
        self._values = list(zip(*columns, strict=True))

    def arguments(self, number: int, was: bytes, now_us: int) -> list[bytes | int]:
        """Return what the server's script takes for a row, where `was` is its time there."""
        event_us = int(self.event_us[number])
        left_ms = _left_ms(event_us, self._ttl, now_us)
        pairs = zip(self._fields, self._values[number], strict=True)
        flat = [part for pair in pairs for part in pair]
        known = self._known[0], wire.known_bytes(event_us, self._known[1][number])
        return [self.time, was, left_ms, self.time, wire.time_bytes(event_us), *known, *flat]


def _known_us(rows: pa.Table) -> list[int]:
    """Return when each row was known, -1 where it does not say."""
    if "available_time" not in rows.column_names:
        return [-1] * rows.num_rows
    found: list[int] = rows["available_time"].cast(US).cast(pa.int64()).fill_null(-1).to_pylist()
    return found


def _left_ms(event_us: int, ttl: timedelta, now_us: int) -> int:
    ttl_us = int(ttl.total_seconds()) * wire.SECOND_US
    return max(1, (event_us + ttl_us - now_us) // 1_000)


def _bytes(column: pa.ChunkedArray) -> list[bytes]:
    absent = column.is_null().to_numpy()
    return wire.doubles(column.fill_null(0.0).to_numpy(), absent)

"""What a session knows before its first row: bars of minutes, and trades of the one it begins in.

It is kept as a file of the home by its digest, since the lake's bars may be corrected, or leave,
before anyone replays the session.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lake.bars.kernel import DATASET, MINUTE_US
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.errors import Damaged, Unavailable
from lake.views.client import Client
from serving.live.live_bars import CHANGE, LiveBars
from serving.live.seed import SCHEMA, Seed

TRADES = arrow_schema(load("crypto_trades"))
FOLDER = "sessions"
"""Of a home."""

BARS_MAX = 1_000
"""Bars of an instrument with which a strategy is warmed up."""

REACH_US = 4 * BARS_MAX * MINUTE_US
"""How far back they are looked for."""


@dataclass(frozen=True, slots=True)
class Warm:
    """closed_us: every minute before it is in bars, by its time; waiting: trades since."""

    closed_us: int
    bars: pa.Table
    waiting: pa.Table

    def at(self, time_us: int) -> Warm:
        """Return it closed at a time, down to a whole minute."""
        return replace(self, closed_us=time_us // MINUTE_US * MINUTE_US)

    def written(self) -> bytes:
        """Return it as bytes, the same for the same content."""
        sink = pa.BufferOutputStream()
        closed = pa.table({"closed_us": pa.array([self.closed_us], pa.int64())})
        for table in (closed, self.bars.cast(SCHEMA), self.waiting.cast(TRADES)):
            plain = table.combine_chunks().replace_schema_metadata(None)
            with pa.ipc.new_stream(sink, plain.schema) as writer:
                writer.write_table(plain)
        return bytes(sink.getvalue())


NOTHING = Warm(0, SCHEMA.empty_table(), TRADES.empty_table())


def warm_of(client: Client, seed: Seed, since: Iterable[pa.Table], closed_us: int) -> Warm:
    """Return what a session begins with.

    seed: of the lake's bars; since: trades of the journal beyond the seed's frame, up to the
    session's first. closed_us: the last minute that ended before it.
    """
    closed_us = max(seed.closed_us, closed_us // MINUTE_US * MINUTE_US)
    older = client.arrow(_bars(seed.closed_us)).cast(SCHEMA) if seed.through else seed.windows
    trades = [seed.waiting, *(each.cast(TRADES) for each in since)]
    with LiveBars(seed.closed_us, seed.held) as live:
        for each in trades:
            live.take(each)
        step = live.step(closed_us)
    put = step.put.filter(pc.equal(step.put["interval"], "1m")).drop_columns([CHANGE])
    times = pc.greater_equal(put["event_time"].cast(pa.int64()), seed.closed_us)
    bars = pa.concat_tables([older.cast(SCHEMA), put.filter(times).cast(SCHEMA)])
    waiting = pa.concat_tables(trades)
    open_ = pc.greater_equal(waiting["event_time"].cast(pa.int64()), closed_us)
    return Warm(closed_us, bars, waiting.filter(open_))


def save(home: Path, warm: Warm) -> str:
    """Keep it in the home; return its digest once it is on the disk."""
    raw = warm.written()
    digest = hashlib.sha256(raw).hexdigest()
    path = _path(home, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}.new")
    with new.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return digest


def read(home: Path, digest: str) -> Warm:
    """Return what was kept; raises Unavailable where it is gone, Damaged where it is another."""
    if not digest:
        return NOTHING
    path = _path(home, digest)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise Unavailable(str(path), str(error.strerror), "restore the home's sessions") from error
    if hashlib.sha256(raw).hexdigest() != digest:
        raise Damaged(str(path), "is not what the session began with", "restore it")
    source = pa.BufferReader(raw)
    closed, bars, waiting = (pa.ipc.open_stream(source).read_all() for _ in range(3))
    return Warm(closed["closed_us"][0].as_py(), bars.cast(SCHEMA), waiting.cast(TRADES))


def _path(home: Path, digest: str) -> Path:
    return home / FOLDER / f"{digest}.arrow"


def _bars(closed_us: int) -> str:
    times = (f"make_timestamp({each})::TIMESTAMPTZ" for each in (closed_us - REACH_US, closed_us))
    first, last = times
    return (
        f"FROM lake.{DATASET} WHERE \"interval\" = '1m' AND event_time >= {first}"
        f" AND event_time < {last} QUALIFY row_number() OVER (PARTITION BY ticker, exchange, market"
        f" ORDER BY event_time DESC) <= {BARS_MAX} ORDER BY event_time, ticker, exchange, market"
    )

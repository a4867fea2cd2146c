"""Four types of query over minute bars, ticklake's paths beside other stores, in one run.

    python benchmarks/queries.py [--tickers 100] [--days 365] [--hot-days 31] [--rounds 15]
        [--apache-dsn DSN] [--community-dsn DSN] [--stack HOME] [--lake-only] [--json]

Point lookup (one bar), range (a day of one ticker), downsampling (a month of one ticker to hours)
and multi-series aggregation (a month of every ticker), over generated bars of distinct tickers.
The hot tier holds the newest days only, as its contract says, and answers downsampling from its
hourly roll-up; the lake and all others hold everything. Without --stack the lake lies in a folder
beside an embedded PostgreSQL and Trino is left out; DSNs name empty databases. --lake-only: raw
DuckDB and the lake, none of the others. chDB and ArcticDB come with the extra `bench`: pip install
-e '.[bench]'.

Per store: bytes on disk, seconds to load, and milliseconds cold (first answer on a new connection,
the system's cache of its files, or of MinIO's, dropped where they lie here) and warm (median over
rounds, each another ticker). Prices are decimals except in ArcticDB, which has none. Trino's floor
is the time of a plan that is not run.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dashboards  # beside this file
import numpy as np
import pyarrow as pa
from _other_stores import ArcticDB, ChDB
from _stores import (
    COLUMNS,
    COPY_ROWS,
    DATASET,
    HotTier,
    Lake,
    LakeByTrino,
    Postgres,
    Question,
    RawDuckDB,
    Store,
)

from infra.servers.embedded import down, up
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.state import read_state
from lake.trino_session import trino_of
from lake.views.engine import open_duckdb
from lake.warehouse import warehouse_of

END = dashboards.NOW.replace(hour=0, minute=0, second=0) + timedelta(days=1)
SEED = 7
RAW = "raw DuckDB on one Parquet file"

_TIMES = "event_time >= TIMESTAMPTZ '{start}' AND event_time < TIMESTAMPTZ '{end}'"
_ONE = f"ticker = '{{ticker}}' AND {_TIMES}"
QUESTIONS = (
    Question(
        "point lookup",
        f"SELECT open, close, volume FROM {{table}} WHERE {_ONE}",
        timedelta(minutes=1),
    ),
    Question(
        "one-day range",
        f"SELECT event_time, open, high, low, close, volume FROM {{table}} WHERE {_ONE}"
        " ORDER BY event_time",
        timedelta(days=1),
    ),
    Question(
        "one-month downsampling",
        "SELECT date_trunc('hour', event_time) AS hour, max(high) AS high, min(low) AS low,"
        f" sum(volume) AS volume, sum(vwap * volume) AS turnover FROM {{table}} WHERE {_ONE}"
        " GROUP BY 1 ORDER BY 1",
        timedelta(days=30),
    ),
    Question(
        "multi-series aggregation",
        "SELECT ticker, max(high) AS high, min(low) AS low, sum(volume) AS volume FROM {table}"
        " WHERE event_time >= TIMESTAMPTZ '{start}' AND event_time < TIMESTAMPTZ '{end}'"
        " GROUP BY ticker ORDER BY ticker",
        timedelta(days=30),
    ),
)
AT_ONCE = 30
"""Days of bars that are held in memory."""

LONGEST = max(question.length for question in QUESTIONS)
_HOT_PERIOD = "bucket >= TIMESTAMPTZ '{start}' AND bucket < TIMESTAMPTZ '{end}'"
HOT_FROM_HOURS = {
    "one-month downsampling": "SELECT bucket, high, low, volume, turnover FROM market.crypto_agg_1h"
    f" WHERE ticker = '{{ticker}}' AND {_HOT_PERIOD} ORDER BY 1",
    "multi-series aggregation": "SELECT ticker, max(high), min(low), sum(volume)"
    f" FROM market.crypto_agg_1h WHERE {_HOT_PERIOD} GROUP BY ticker ORDER BY ticker",
}


def generate(file: Path, tickers: int, days: int) -> None:
    """Write the bars as one Parquet file, sorted by ticker and time."""
    first = f"{END - timedelta(days=days):%F %T}+00"
    with open_duckdb([]) as engine:
        engine.execute(
            "COPY (SELECT 'X:T' || n || 'USD' AS ticker, event_time, open,"
            " (open * 1.001)::DECIMAL(28, 10) AS high, (open * 0.999)::DECIMAL(28, 10) AS low,"
            " (open * 1.0005)::DECIMAL(28, 10) AS close,"
            " ((hash(m * 131 + n) % 100000)::DECIMAL(28, 10) / 1000)::DECIMAL(28, 10) AS volume,"
            f" open AS vwap FROM (SELECT n, m, TIMESTAMPTZ '{first}' + to_minutes(m) AS event_time,"
            " round(100 + n + sin(m / 500.0 + n) * 5 + (hash(m + n) % 100) / 100.0, 4)"
            f"::DECIMAL(28, 10) AS open FROM range({tickers}) AS t (n),"
            f" (SELECT range::INTEGER AS m FROM range({days * 1440})))"
            " ORDER BY ticker, event_time)"
            f" TO '{file}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)"
        )


def batches(file: Path) -> Iterator[pa.RecordBatch]:
    """Yield the bars in the order of time, as a feed would bring them, day by day."""
    with open_duckdb([]) as engine:
        yield from engine.execute(f"SELECT {COLUMNS} FROM read_parquet('{file}')").to_arrow_reader(
            COPY_ROWS
        )


def lake_days(file: Path, days: int) -> Iterator[pa.Table]:
    """Yield the bars as the contract has them, a day each, sorted as compaction sorts."""
    schema = arrow_schema(load(DATASET))
    number = 0
    for rows in bar_days(file, days):
        count = rows.num_rows
        more = {
            "exchange": pa.array(["binance"]).take(pa.array(np.zeros(count, np.int64))),
            "market": pa.array(["spot"]).take(pa.array(np.zeros(count, np.int64))),
            "interval": pa.array(["1m"]).take(pa.array(np.zeros(count, np.int64))),
            "received_time": rows["event_time"],
            "average_trade_size": pa.nulls(count, schema.field("vwap").type),
            "shard": pa.array(np.zeros(count, np.int16)),
            "seq": pa.array(np.arange(number, number + count, dtype=np.int64) << 16),
        }
        columns = [
            more[n] if n in more else rows[n].cast(schema.field(n).type) for n in schema.names
        ]
        number += count
        yield pa.table(columns, schema=schema)


def bar_days(file: Path, days: int) -> Iterator[pa.Table]:
    """Yield the bars of each day by ticker and time; the file is read once for AT_ONCE days."""
    within = "SELECT * FROM {} WHERE event_time >= ? AND event_time < ?"
    with open_duckdb([]) as engine:
        for first in range(days, 0, -AT_ONCE):
            last = max(0, first - AT_ONCE)
            span = [END - timedelta(days=first), END - timedelta(days=last)]
            read = within.format(f"read_parquet('{file}')")
            engine.execute(f"CREATE OR REPLACE TEMP TABLE held AS {read}", span)
            for back in range(first, last, -1):
                day = [END - timedelta(days=back), END - timedelta(days=back - 1)]
                query = within.format("held") + " ORDER BY ticker, event_time"
                yield engine.execute(query, day).to_arrow_table()


def frames(file: Path, tickers: int) -> Iterator[tuple[str, Any]]:
    """Yield each ticker's bars as a pandas frame of doubles."""
    with open_duckdb([]) as engine:
        for n in range(tickers):
            frame = engine.execute(
                "SELECT timezone('UTC', event_time) AS event_time, open::DOUBLE AS open,"
                " high::DOUBLE AS high, low::DOUBLE AS low, close::DOUBLE AS close,"
                " volume::DOUBLE AS volume, vwap::DOUBLE AS vwap"
                f" FROM read_parquet('{file}') WHERE ticker = 'X:T{n}USD' ORDER BY event_time"
            ).df()
            yield f"X:T{n}USD", frame.set_index("event_time")


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call gives, and the milliseconds it took."""
    start = time.perf_counter()
    found = run()
    return found, (time.perf_counter() - start) * 1000


def asked(store: Store, options: argparse.Namespace) -> dict[str, Any]:
    """Ask a store everything, cold and warm; return milliseconds and rows."""
    chance = random.Random(SEED)
    found: dict[str, Any] = {}
    for question in QUESTIONS:
        room = newest_days(options) * 1440 - int(question.length.total_seconds() // 60)

        def once(question: Question = question, room: int = room) -> int:
            start = (
                END - question.length - timedelta(minutes=chance.randrange(max(room // 60, 1)) * 60)
            )
            return store.answer(question, f"X:T{chance.randrange(options.tickers)}USD", start)

        store.forget()
        rows, cold = timed(once)
        warm = [timed(once)[1] for _ in range(options.rounds)]
        found[question.name] = {
            "cold_ms": round(cold, 2),
            "warm_ms": round(statistics.median(warm), 2),
            "rows": rows,
        }
    return found


def newest_days(options: argparse.Namespace) -> int:
    """Return the days that every store holds, and that are asked about."""
    return int(min(options.days, options.hot_days))


def stores(options: argparse.Namespace, folder: Path, dsn: str) -> Iterator[Callable[[], Store]]:
    """Yield what loads each store that is wanted, ours first."""
    file = folder / "bars.parquet"
    home = Path(options.stack) if options.stack else folder / "home"
    lakes: list[Lake] = []

    def lake() -> Lake:
        lakes.append(
            Lake(
                lake_dsn(home),
                warehouse_of(home),
                lake_days(file, options.days),
                home / "minio" if home.joinpath("minio").is_dir() else None,
            )
        )
        return lakes[0]

    def hot() -> HotTier:
        return HotTier(
            dsn,
            lambda at: dashboards.fill(at, options.tickers, options.hot_days, 0),
            HOT_FROM_HOURS,
        )

    yield lambda: RawDuckDB(file)
    yield lake
    trino = trino_of(home)
    if trino and lakes:
        yield lambda: LakeByTrino(lakes[0], trino)
    if options.lake_only:
        return
    yield hot
    yield lambda: Postgres("plain PostgreSQL", dsn, lambda: batches(file))
    if options.apache_dsn:
        yield lambda: Postgres("TimescaleDB Apache", options.apache_dsn, lambda: batches(file))
    if options.community_dsn:
        yield lambda: Postgres(
            "TimescaleDB Community", options.community_dsn, lambda: batches(file)
        )
    if find_spec("chdb"):
        yield lambda: ChDB(file, folder / "chdb")
    if find_spec("arcticdb"):
        yield lambda: ArcticDB(frames(file, options.tickers), folder / "arctic")


def lake_dsn(home: Path) -> str:
    """Return the database of a home's catalog."""
    return str(read_state(home)["postgres"]["dsn"])


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Load every store, ask it, remove it; return the table."""
    dsn = str(up(folder / "home").state["postgres"]["dsn"])
    _, generated_ms = timed(
        lambda: generate(folder / "bars.parquet", options.tickers, options.days)
    )
    table: dict[str, Any] = {}
    kept: list[Store] = []
    floor: dict[str, float] = {}
    for make in stores(options, folder, dsn):
        store, loaded_ms = timed(make)
        print(f"{store.name}: loaded in {loaded_ms / 1000:.0f} s", file=sys.stderr)
        table[store.name] = {
            "bytes": store.bytes(),
            "loaded_s": round(loaded_ms / 1000, 1),
            "questions": asked(store, options),
        }
        if isinstance(store, LakeByTrino):
            floor = planning_floor(store)
        if isinstance(store, Lake):
            kept.append(store)
        else:
            store.close()
    for store in kept:
        store.close()
    return {
        "rows": options.tickers * options.days * 1440,
        "hot_days": options.hot_days,
        "generated_s": round(generated_ms / 1000, 1),
        "stores": table,
        "trino_planning_floor_ms": floor,
        "left_out": left_out(options),
        "rows_differ": rows_differ(table),
        "goals": goals(table),
    }


def planning_floor(store: LakeByTrino) -> dict[str, float]:
    """Return the milliseconds of a plan that is not run, per question."""
    found = {}
    for question in QUESTIONS:
        start = END - question.length
        runs = [timed(partial(store.plan, question, "X:T1USD", start))[1] for _ in range(5)]
        found[question.name] = round(statistics.median(runs), 2)
    return found


def left_out(options: argparse.Namespace) -> list[str]:
    """Name what was not measured, and why."""
    reasons = {
        "Trino: no --stack": not options.stack,
        "all others: --lake-only": options.lake_only,
        "TimescaleDB Apache: no --apache-dsn": not options.apache_dsn,
        "TimescaleDB Community: no --community-dsn": not options.community_dsn,
        "chDB: the extra bench is not installed": not find_spec("chdb"),
        "ArcticDB: the extra bench is not installed": not find_spec("arcticdb"),
    }
    return [reason for reason, missing in reasons.items() if missing]


def rows_differ(table: dict[str, Any]) -> list[str]:
    """Name the questions to which stores gave answers of different length."""
    found = []
    for question in QUESTIONS:
        counts = {each["questions"][question.name]["rows"] for each in table.values()}
        found += [f"{question.name}: {sorted(counts)}"] if len(counts) > 1 else []
    return found


def goals(table: dict[str, Any]) -> dict[str, Any]:
    """Return, per question, our best warm time, TimescaleDB's best, and ours to raw DuckDB's."""
    found = {}
    for question in QUESTIONS:
        warm = {name: each["questions"][question.name]["warm_ms"] for name, each in table.items()}
        ours = min((ms, name) for name, ms in warm.items() if name.startswith("ticklake"))
        others = [ms for name, ms in warm.items() if name.startswith("TimescaleDB")]
        found[question.name] = {
            "best_of_ours": ours[1],
            "best_ms": ours[0],
            "timescaledb_ms": min(others) if others else None,
            "lake_to_raw_duckdb": round(warm["ticklake lake, DuckDB"] / warm[RAW], 2),
        }
    return found


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tickers", type=int, default=100)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--hot-days", type=int, default=31)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--apache-dsn")
    parser.add_argument("--community-dsn")
    parser.add_argument("--stack", help="home of a stack profile that is up")
    parser.add_argument("--lake-only", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if newest_days(options) < LONGEST.days:
        parser.error(f"--days, --hot-days: at least {LONGEST.days}, the longest question")
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = measure(options, Path(folder))
        finally:
            down(Path(folder) / "home")
    if options.json:
        print(json.dumps(found))
        return bool(found["rows_differ"])
    print(f"{found['rows']:,} bars; milliseconds warm (cold)")
    for name, each in found["stores"].items():
        print(f"{name:<32}{each['bytes'] / 1e6:>10,.0f} MB, loaded in {each['loaded_s']:.0f} s")
        for question, got in each["questions"].items():
            times = f"{got['warm_ms']:>10.2f} ({got['cold_ms']:.2f})"
            print(f"    {question:<26}{times} {got['rows']:,} rows")
    for key in ("trino_planning_floor_ms", "left_out", "rows_differ", "goals"):
        print(f"{key}: {json.dumps(found[key])}")
    return bool(found["rows_differ"])


if __name__ == "__main__":
    sys.exit(main())

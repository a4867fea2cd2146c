"""The long query: the newest million trades of one ticker's year, out of a billion in the lake.

    python benchmarks/long_query.py [--rows 1000000000] [--days 365] [--tickers 100] [--workers 2]
        [--runs 5] [--folder DIR] [--disk-gb 40] [--json]

The trades are generated into an Iceberg table with the contract's schema, partitions and sort: one
file a day, as compaction leaves it, by the product's own writer; every ticker has as many. Asked
through DuckDB as the union view reads the lake, fetched as Arrow: by `client.newest`, which looks
for the time of the millionth row first; by the plain `SELECT * ... ORDER BY event_time DESC LIMIT
1000000`; and the year's minute bars of that ticker from a table of bars built with the same
writer. Reported: seconds cold (the system's cache of the files dropped) and warm
(median), and what bounds it: files, row groups and bytes in which the newest million rows lie, and
the seconds of reading just those with nothing else, one after another. Files are removed at the
end; a run that would not fit the disk is refused.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFile

from infra.servers.embedded import down, up
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.feeds.scaled import decimals
from lake.tables.catalog import ensure_table, open_catalog
from lake.tables.data_file import write_data_files
from lake.views.engine import LAKE_EXTENSIONS, open_duckdb
from lake.views.newest import newest_sql
from lake.views.snapshot import load_snapshot
from lake.views.union_view import lake_sql

FIRST = datetime(2025, 1, 1, tzinfo=UTC)
DAY_US = 86_400_000_000
LIMIT = 1_000_000
TICKER = "X:T7USD"
BYTES_A_ROW = 16
"""Found for these columns after compaction; what is asked of the disk before a run."""

GOAL_ROWS_S, GOAL_BARS_MS = 2.0, 200.0
DATASETS = ("crypto_trades", "crypto_aggregates")


def trades(day: int, count: int, tickers: int) -> pa.Table:
    """Return a day's trades, sorted by ticker, time and seq, as compaction sorts them."""
    chance = np.random.default_rng(day)
    names = np.array(sorted(f"X:T{n}USD" for n in range(tickers)))
    order = np.arange(count, dtype=np.int64)
    each = count // tickers
    at = (order % each) * (DAY_US // each) + chance.integers(0, DAY_US // each, count)
    start_us = int((FIRST + timedelta(days=day)).timestamp()) * 1_000_000
    times = pa.array(start_us + at, pa.timestamp("us", "UTC"))
    walk = np.cumsum(chance.integers(-3, 4, count)) + 5_000_000
    one = pa.array(np.zeros(count, np.int64))
    number = at * count // DAY_US + day * count
    values = {
        "ticker": pa.array(names).take(pa.array(order // each)),
        "exchange": pa.array(["binance"]).take(one),
        "market": pa.array(["spot"]).take(one),
        "trade_id": pa.array(order + day * count).cast(pa.string()),
        "event_time": times,
        "received_time": pa.array(start_us + at + chance.integers(900, 9000, count), times.type),
        "price": decimals(np.abs(walk) * 10**8),
        "size": decimals(chance.integers(1, 2_000, count) * 10**6),
        "side": pa.array(["buy", "sell"]).take(pa.array(chance.integers(0, 2, count))),
        "conditions": pa.nulls(count, pa.string()),
        "shard": pa.array(np.zeros(count, np.int16)),
        "seq": pa.array(number << 16),
    }
    schema = arrow_schema(load("crypto_trades"))
    return pa.table([values[name] for name in schema.names], schema=schema)


def bars(day: int, tickers: int) -> pa.Table:
    """Return a day's minute bars, sorted."""
    count = tickers * 1440
    n = np.arange(count, dtype=np.int64)
    names = pa.array(sorted(f"X:T{each}USD" for each in range(tickers)))
    start_us = int((FIRST + timedelta(days=day)).timestamp()) * 1_000_000
    times = pa.array(start_us + n % 1440 * 60_000_000, pa.timestamp("us", "UTC"))
    price = decimals((5_000_000 + (n * 7919 + day) % 9_973) * 10**8)
    one = pa.array(np.zeros(count, np.int64))
    schema = arrow_schema(load("crypto_aggregates"))
    values = {
        "ticker": names.take(pa.array(n // 1440)),
        "exchange": pa.array(["binance"]).take(one),
        "market": pa.array(["spot"]).take(one),
        "interval": pa.array(["1m"]).take(one),
        "event_time": times,
        "received_time": times,
        "average_trade_size": pa.nulls(count, schema.field("vwap").type),
        "shard": pa.array(np.zeros(count, np.int16)),
        "seq": pa.array((n + day * count) << 16),
    }
    return pa.table([values.get(name, price) for name in schema.names], schema=schema)


def write_day(day: int, dsn: str, warehouse: str, count: int, tickers: int) -> list[list[DataFile]]:
    """Write a day's files of both tables, commit nothing; runs in a process of its own."""
    catalog = open_catalog(dsn, warehouse)
    try:
        made = (trades(day, count, tickers), bars(day, tickers))
        return [
            write_data_files(
                ensure_table(catalog, dataset), rows, time_column="event_time", compact=True
            )
            for dataset, rows in zip(DATASETS, made, strict=True)
        ]
    finally:
        catalog.engine.dispose()


def fill(dsn: str, warehouse: str, options: argparse.Namespace) -> list[list[DataFile]]:
    """Write and commit everything; return the files of each table."""
    catalog = open_catalog(dsn, warehouse)
    tables = [ensure_table(catalog, dataset) for dataset in DATASETS]
    write = partial(
        write_day,
        dsn=dsn,
        warehouse=warehouse,
        count=options.rows // options.days // options.tickers * options.tickers,
        tickers=options.tickers,
    )
    found: list[list[DataFile]] = [[] for _ in DATASETS]
    with ProcessPoolExecutor(options.workers) as pool:
        for day, files in enumerate(pool.map(write, range(options.days))):
            for every, new in zip(found, files, strict=True):
                every += new
            print(f"day {day + 1} of {options.days}", end="\r", file=sys.stderr)
    for table, files in zip(tables, found, strict=True):
        with table.transaction() as change, change.update_snapshot().fast_append() as append:
            for file in files:
                append.append_data_file(file)
    catalog.engine.dispose()
    return found


def paths(files: list[DataFile]) -> list[str]:
    """Return the files' places, newest day first."""
    return sorted((file.file_path.removeprefix("file://") for file in files), reverse=True)


def forget(files: list[DataFile]) -> None:
    """Ask the system to forget the files' content."""
    os.sync()
    for path in paths(files):
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def timed(engine: duckdb.DuckDBPyConnection, query: str) -> tuple[float, int]:
    """Return seconds and rows of a query whose answer is fetched as Arrow."""
    start = time.perf_counter()
    rows = engine.execute(query).to_arrow_table().num_rows
    return time.perf_counter() - start, rows


def timed_newest(engine: duckdb.DuckDBPyConnection, until: datetime) -> tuple[float, int]:
    """Return seconds and rows of the newest rows as client.newest asks for them."""

    def ask(query: str) -> list[tuple[object, ...]]:
        return engine.execute(query).fetchall()

    start = time.perf_counter()
    query = newest_sql(ask, DATASETS[0], LIMIT, {"ticker": TICKER}, until)
    rows = engine.execute(query).to_arrow_table().num_rows
    return time.perf_counter() - start, rows


def asked(run: Callable[[], tuple[float, int]], files: list[DataFile], runs: int) -> dict[str, Any]:
    """Ask cold, then warm; return seconds and rows."""
    forget(files)
    cold, rows = run()
    warm = [run()[0] for _ in range(runs)]
    return {
        "rows": rows,
        "cold_s": round(cold, 3),
        "warm_s": round(statistics.median(warm), 3),
    }


def bound(files: list[DataFile]) -> dict[str, Any]:
    """Read just the row groups that the newest million rows lie in; what no plan can be below."""
    rows = groups = size = opened = 0
    spent = 0.0
    for path in paths(files):
        start = time.perf_counter()
        with pq.ParquetFile(path) as file:
            wanted = []
            for index in range(file.metadata.num_row_groups):
                group = file.metadata.row_group(index)
                span = group.column(0).statistics
                if span.min <= TICKER <= span.max:
                    wanted.append(index)
                    size += sum(
                        group.column(i).total_compressed_size for i in range(group.num_columns)
                    )
            table = file.read_row_groups(wanted)
        spent += time.perf_counter() - start
        rows += int(np.count_nonzero(table["ticker"].to_numpy() == TICKER))
        groups, opened = groups + len(wanted), opened + 1
        if rows >= LIMIT:
            break
    return {
        "files": opened,
        "row_groups": groups,
        "megabytes": round(size / 1e6, 1),
        "read_s": round(spent, 3),
    }


def measure(dsn: str, warehouse: str, options: argparse.Namespace) -> dict[str, Any]:
    """Generate, ask; return the figures."""
    start = time.perf_counter()
    found = fill(dsn, warehouse, options)
    made_s = time.perf_counter() - start
    since = f"TIMESTAMPTZ '{FIRST:%F %T}+00'"
    until = f"TIMESTAMPTZ '{FIRST + timedelta(days=options.days):%F %T}+00'"
    where = f"ticker = '{TICKER}' AND event_time >= {since} AND event_time < {until}"
    with open_duckdb(LAKE_EXTENSIONS) as engine:
        catalog = open_catalog(dsn, warehouse)
        for dataset in DATASETS:
            place = ensure_table(catalog, dataset).metadata_location
            snapshot = load_snapshot(engine, dataset, place)
            engine.execute(f"CREATE VIEW {dataset} AS {lake_sql(dataset, snapshot)}")
        catalog.engine.dispose()
        newest = f"FROM crypto_trades WHERE {where} ORDER BY event_time DESC LIMIT {LIMIT}"
        minute = f"SELECT event_time, open, close, volume FROM crypto_aggregates WHERE {where}"
        counted = engine.execute("SELECT count(*) FROM crypto_trades").fetchone()
        assert counted is not None
        end = FIRST + timedelta(days=options.days)
        queries = {
            "newest_rows": (partial(timed_newest, engine, end), found[0]),
            "newest_rows_plain": (partial(timed, engine, f"SELECT * {newest}"), found[0]),
            "minute_bars": (partial(timed, engine, f"{minute} ORDER BY event_time"), found[1]),
        }
        figures = {name: asked(run, files, options.runs) for name, (run, files) in queries.items()}
    return {
        "rows": counted[0],
        "gigabytes": round(sum(f.file_size_in_bytes for f in found[0]) / 1e9, 2),
        "bytes_a_row": round(sum(f.file_size_in_bytes for f in found[0]) / counted[0], 1),
        "made_s": round(made_s, 1),
        **figures,
        "bound": bound(found[0]),
        "goals": {"newest_rows_s": GOAL_ROWS_S, "minute_bars_ms": GOAL_BARS_MS},
    }


def main() -> int:
    """Run and print; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--tickers", type=int, default=100)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", help="where the lake lies; default: temporary files")
    parser.add_argument("--disk-gb", type=float, default=40.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.folder:
        Path(options.folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        needed = options.rows * BYTES_A_ROW / 1e9
        free = min(options.disk_gb, shutil.disk_usage(folder).free / 1e9)
        if needed > free:
            print(
                f"--rows: need {needed:.0f} GB of disk, have {free:.0f}: ask for fewer",
                file=sys.stderr,
            )
            return 2
        home = Path(folder) / "home"
        try:
            dsn = str(up(home).state["postgres"]["dsn"])
            found = measure(dsn, str(home / "warehouse"), options)
        finally:
            down(home)
    print(
        json.dumps(found) if options.json else "\n".join(f"{k:>28} {v}" for k, v in found.items())
    )
    rows_s, bars_ms = found["newest_rows"]["warm_s"], found["minute_bars"]["warm_s"] * 1000
    return 0 if rows_s <= GOAL_ROWS_S and bars_ms <= GOAL_BARS_MS else 1


if __name__ == "__main__":
    sys.exit(main())

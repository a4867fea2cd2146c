"""Cost of a commit to the lake over many commits, with upkeep on: it must stay flat.

    python benchmarks/commits.py [--commits 10000] [--rows 200] [--json]

One table, one row batch a commit, upkeep every 16 commits as the mover does it. Reported: median
milliseconds of the first and the last hundred commits, their ratio, files and snapshots at the end,
and beside it the raw cost of writing the same Parquet files and nothing else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from infra.servers.embedded import down, up
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.feeds.scaled import decimals
from lake.hot.lease import COMMITTER, take
from lake.ingest.lake_files import RemovalBook
from lake.tables.catalog import open_catalog
from lake.tables.lake_table import LakeTable
from lake.tables.upkeep import Upkeep

DATASET = "crypto_trades"
UPKEEP_EVERY = 16


def rows_of(start: int, count: int) -> pa.Table:
    """Return trades with seq from start on."""
    n = np.arange(start, start + count)
    at = pa.array(1_760_000_000_000_000 + n * 1000, pa.timestamp("us", "UTC"))
    exact = decimals((n % 1000 + 1) * 10**10)
    values = {
        "ticker": pa.array([f"X:T{i % 20}USD" for i in n.tolist()]),
        "exchange": pa.array(["sim:1"] * count),
        "market": pa.array(["spot"] * count),
        "trade_id": pa.array([str(i) for i in n.tolist()]),
        "event_time": at,
        "received_time": at,
        "price": exact,
        "size": exact,
        "side": pa.array(["buy"] * count),
        "conditions": pa.nulls(count, pa.string()),
        "shard": pa.array(np.zeros(count, np.int16)),
        "seq": pa.array(n << 16),
    }
    schema = arrow_schema(load(DATASET))
    return pa.table([values[name] for name in schema.names], schema=schema)


def measure(commits: int, rows: int, home: Path) -> dict[str, float]:
    """Make the commits; return the figures."""
    dsn = up(home).state["postgres"]["dsn"]
    with psycopg.connect(dsn, autocommit=True) as connection:
        lease = take(connection, COMMITTER)
        assert lease is not None
        catalog = open_catalog(dsn, str(home / "warehouse"), epoch=lease.epoch)
        table = LakeTable(catalog, DATASET, epoch=lease.epoch)
        sort = load(DATASET).sort
        lock = threading.Lock()
        upkeep = Upkeep(catalog, DATASET, sort, epoch=lease.epoch, commit_lock=lock)
        book = RemovalBook(connection)
        spent: list[float] = []
        kept: list[float] = []
        for i in range(commits):
            batch = rows_of(i * rows, rows)
            start = time.perf_counter()
            table.refresh()
            table.append(batch, {0: i + 1})
            spent.append((time.perf_counter() - start) * 1000)
            if i % UPKEEP_EVERY == UPKEEP_EVERY - 1:
                start = time.perf_counter()
                while (merged := upkeep.merge()) is not None:
                    book.freed(DATASET, merged.freed)
                book.freed(DATASET, upkeep.expire())
                kept.append((time.perf_counter() - start) * 1000)
            if i % 500 == 499:
                print(
                    f"{i + 1:,} commits, {statistics.median(spent[-100:]):.1f} ms", file=sys.stderr
                )
        files = sum(1 for _ in table.table.scan().plan_files())
        snapshots = len(table.table.metadata.snapshots)
    start = time.perf_counter()
    for i in range(100):
        pq.write_table(rows_of(i * rows, rows), home / "raw.parquet", compression="zstd")
    raw = (time.perf_counter() - start) * 10
    first, last = statistics.median(spent[:100]), statistics.median(spent[-100:])
    return {
        "commits": commits,
        "first_hundred_ms": round(first, 2),
        "last_hundred_ms": round(last, 2),
        "ratio": round(last / first, 3),
        "upkeep_first_ms": round(statistics.median(kept[:10]), 1),
        "upkeep_last_ms": round(statistics.median(kept[-10:]), 1),
        "files": files,
        "snapshots": snapshots,
        "raw_parquet_ms": round(raw, 2),
    }


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commits", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        try:
            found = measure(options.commits, options.rows, home)
        finally:
            down(home)
    print(
        json.dumps(found) if options.json else "\n".join(f"{k:>20} {v}" for k, v in found.items())
    )
    return 0 if found["ratio"] <= 1.5 else 1


if __name__ == "__main__":
    sys.exit(main())

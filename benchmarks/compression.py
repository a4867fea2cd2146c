"""Bytes of recorded ticks in the lake after compaction, beside PostgreSQL's rows and indexes.

    python benchmarks/compression.py [--data DIR] [--files N] [--json]

Recorded Binance frames (DIR/binance_frames; default: TICKLAKE_DATA) go the whole way by `ticklake
ingest replay:...`; then the lake is merged until nothing is left to merge. Per dataset: rows, bytes
of the partitions with their indexes (pg_total_relation_size), bytes of the lake's live files, and
the ratio, beside the goal of 15. What bounds it is printed too: the lake's bytes a row by column.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq

from infra.servers.embedded import down, up
from lake.contracts.contract import load
from lake.hot.lease import COMMITTER, take
from lake.tables.catalog import ensure_table, open_catalog
from lake.tables.upkeep import Upkeep, UpkeepLimits

GOAL = 15.0
DATASETS = ("crypto_trades", "crypto_quotes")
INGEST_S_MAX = 540.0
ROUNDS_MAX = 200
EVERYTHING = UpkeepLimits(merge_factor=2, rows_final=10**9)

_HOT_BYTES = (
    "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree(%s::regclass) WHERE isleaf"
)


def merged(dsn: str, warehouse: str) -> None:
    """Merge the lake's files until there is nothing to merge."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        lease = take(connection, COMMITTER)
        assert lease is not None
        catalog = open_catalog(dsn, warehouse, epoch=lease.epoch)
        for dataset in DATASETS:
            upkeep = Upkeep(
                catalog,
                dataset,
                load(dataset).sort,
                epoch=lease.epoch,
                commit_lock=threading.Lock(),
                limits=EVERYTHING,
            )
            for _ in range(ROUNDS_MAX):
                if upkeep.merge() is None:
                    break
        catalog.engine.dispose()


def sizes(dsn: str, warehouse: str) -> dict[str, Any]:
    """Return the figures per dataset."""
    catalog = open_catalog(dsn, warehouse)
    found = {}
    with psycopg.connect(dsn, autocommit=True) as connection:
        for dataset in DATASETS:
            connection.execute(f"VACUUM market.{dataset}".encode())
            row = connection.execute(_HOT_BYTES, (f"market.{dataset}",)).fetchone()
            assert row is not None
            hot = int(row[0])
            files = [task.file for task in ensure_table(catalog, dataset).scan().plan_files()]
            rows = sum(file.record_count for file in files)
            lake = sum(file.file_size_in_bytes for file in files)
            columns: Counter[str] = Counter()
            for file in files:
                columns.update(column_bytes(file.file_path.removeprefix("file://")))
            found[dataset] = {
                "rows": rows,
                "files": len(files),
                "postgresql_bytes": hot,
                "lake_bytes": lake,
                "ratio": round(hot / lake, 2),
                "bytes_a_row": {name: round(n / rows, 2) for name, n in columns.most_common()},
            }
    catalog.engine.dispose()
    return found


def column_bytes(path: str) -> Counter[str]:
    """Return the compressed bytes of each column of a Parquet file."""
    metadata = pq.read_metadata(path)
    found: Counter[str] = Counter()
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            found[column.path_in_schema] += column.total_compressed_size
    return found


def ingest(home: Path, files: list[Path]) -> None:
    """Bring recordings the whole way, one after another."""
    for file in files:
        words = ["ingest", f"replay:{file}", "--speed", "max", "--home", str(home)]
        subprocess.run(
            [sys.executable, "-m", "infra.command.main", *words],
            check=True,
            timeout=INGEST_S_MAX,
            stdout=subprocess.DEVNULL,
            stderr=sys.stderr,
        )


def main() -> int:
    """Run and print; 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("TICKLAKE_DATA"))
    parser.add_argument("--files", type=int, help="only so many recordings")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = Path(options.data or "", "binance_frames")
    files = sorted(folder.glob("*.gz"))[: options.files]
    if not files:
        print(f"{folder}: no recordings: set TICKLAKE_DATA or --data", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as place:
        home = Path(place) / "home"
        try:
            dsn = str(up(home).state["postgres"]["dsn"])
            ingest(home, files)
            merged(dsn, str(home / "warehouse"))
            found: dict[str, Any] = sizes(dsn, str(home / "warehouse"))
        finally:
            down(home)
    hot, lake = (sum(d[key] for d in found.values()) for key in ("postgresql_bytes", "lake_bytes"))
    answer = {"datasets": found, "ratio": round(hot / lake, 2), "goal": GOAL}
    if options.json:
        print(json.dumps(answer))
    else:
        for name, each in found.items():
            print(f"{name}: {each['rows']:,} rows, {each['ratio']} times smaller; bytes a row:")
            print(f"    PostgreSQL {each['postgresql_bytes'] / each['rows']:.1f}, lake", end=" ")
            print(f"{each['lake_bytes'] / each['rows']:.1f}: {each['bytes_a_row']}")
        print(f"together {answer['ratio']} times smaller, goal {GOAL}")
    return 0 if answer["ratio"] >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())

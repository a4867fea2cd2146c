"""The point-in-time join: probes x features over minute bars, beside a bare ASOF join and Feast.

    python benchmarks/point_in_time.py [--probes N] [--features N] [--tickers N] [--days N]
                                       [--feast] [--json]

Feature values lie as upkeep leaves them: a Parquet file a month, sorted by ticker and time; a part
of the bars has a late second version. Ours reads them and writes the training set, each in a
process of its own, so that its peak memory is its own. The bare one is DuckDB's ASOF join on the
one time event_time, with nothing known of available_time, in one statement over the same files; it
may use the memory that ours may. --feast: Feast's stock path (its DuckDB store) and ours on 100,000
probes x 4 features; its DuckDB store comes with `pip install -e '.[dev,bench]'`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb

from lake.training.feature_table import FeatureTable
from lake.training.training_set import MEMORY_BYTES_MAX, training_set
from lake.views.engine import open_duckdb, quote

START = datetime(2024, 1, 1, tzinfo=UTC)
START_US = int(START.timestamp()) * 1_000_000
MINUTE_US = 60_000_000
LATENCY_US = 1_500_000
RECORDED_US = 300_000_000
"""A row is written so long after its minute."""

LATE_EVERY = 1_000
"""One bar in so many has a second version, an hour late."""

MONTH_DAYS = 31
TTL = timedelta(days=7)
COMPARED_PROBES = 100_000
COMPARED_FEATURES = 4


class Files:
    """Feature values in files, as a view of an engine: what the join asks of a client."""

    release: str | None = None

    def __init__(self, folder: Path) -> None:
        self.duckdb = open_duckdb([])
        files = quote(str(folder / "features-*.parquet"))
        self.duckdb.execute(f"CREATE VIEW features AS FROM read_parquet({files})")

    def refresh(self) -> bool:
        """Say that nothing has moved."""
        return False


def market(folder: Path, tickers: int, days: int, features: int) -> int:
    """Write feature values, a file a month; return their rows."""
    connection = duckdb.connect()
    values = ", ".join(
        f"hash(k * 1000003 + m * 31 + {n}) / 18446744073709551616.0 AS f{n}"
        for n in range(features)
    )
    rows = 0
    for number, day in enumerate(range(0, days, MONTH_DAYS)):
        last = min(days, day + MONTH_DAYS)
        statement = f"""
            COPY (SELECT 'X:' || lpad(k::VARCHAR, 3, '0') AS ticker,
                make_timestamptz({START_US} + m * {MINUTE_US}) AS event_time,
                make_timestamptz({START_US} + m * {MINUTE_US} + {LATENCY_US}
                    + v * 3600000000) AS available_time,
                make_timestamptz({START_US} + m * {MINUTE_US}
                    + v * 3600000000 + {RECORDED_US}) AS recorded_time, {values}
            FROM range({tickers}) AS t (k), range({day * 1440}, {last * 1440}) AS r (m),
                range(2) AS s (v)
            WHERE v = 0 OR m % {LATE_EVERY} = 0 ORDER BY ticker, event_time)
            TO {quote(str(folder / f"features-{number:03}.parquet"))}
            (FORMAT parquet, COMPRESSION zstd)"""
        row = connection.execute(statement).fetchone()
        rows += int(row[0]) if row else 0
    return rows


def probes(folder: Path, count: int, tickers: int, days: int) -> Path:
    """Write probes in no order; return their file."""
    out = folder / f"probes-{count}.parquet"
    span = days * 1440 * MINUTE_US
    duckdb.execute(f"""
        COPY (SELECT 'X:' || lpad((hash(i) % {tickers})::VARCHAR, 3, '0') AS ticker,
            make_timestamptz({START_US} + {MINUTE_US} + (hash(i * 7 + 1) % {span})::BIGINT)
                AS event_time, (i % 2)::TINYINT AS label
        FROM range({count}) AS r (i)) TO {quote(str(out))} (FORMAT parquet)""")
    return out


def ours(folder: Path, asked: Path, features: int) -> dict[str, float]:
    """Join by both times."""
    table = FeatureTable("features", tuple(f"f{n}" for n in range(features)), TTL)
    client: Any = Files(folder)
    start = time.perf_counter()
    made = training_set(client, asked, (table,), folder / "ours.parquet")
    return measured(start, made.rows, pieces=made.pieces)


def bare(folder: Path, asked: Path, features: int) -> dict[str, float]:
    """Join by event_time alone, in one statement."""
    connection = Files(folder).duckdb
    connection.execute(f"SET memory_limit = '{MEMORY_BYTES_MAX}B'")
    connection.execute(f"SET temp_directory = {quote(str(folder / 'spill'))}")
    columns = ", ".join(f"f.f{n}" for n in range(features))
    start = time.perf_counter()
    row = connection.execute(f"""
        COPY (SELECT p.*, {columns} FROM read_parquet({quote(str(asked))}) AS p
            ASOF LEFT JOIN features AS f
            ON p.ticker = f.ticker AND p.event_time >= f.event_time)
        TO {quote(str(folder / "bare.parquet"))} (FORMAT parquet, COMPRESSION zstd)""").fetchone()
    return measured(start, int(row[0]) if row else 0)


def feast(folder: Path, asked: Path, features: int) -> dict[str, float]:
    """Join by Feast's DuckDB store over the same files."""
    library = import_module("feast")
    file_source = import_module("feast.infra.offline_stores.file_source")
    types = import_module("feast.types")
    names = [f"f{n}" for n in range(features)]
    entity = library.Entity(name="ticker", join_keys=["ticker"])
    source = file_source.FileSource(
        path=str(folder / "features-000.parquet"),
        timestamp_field="event_time",
        created_timestamp_column="available_time",
    )
    view = library.FeatureView(
        name="features",
        entities=[entity],
        ttl=TTL,
        schema=[library.Field(name=each, dtype=types.Float64) for each in names],
        source=source,
    )
    (folder / "feature_store.yaml").write_text(
        "project: bench\nprovider: local\nregistry: registry.db\n"
        "offline_store: {type: duckdb}\nonline_store: {type: sqlite, path: online.db}\n"
        "entity_key_serialization_version: 3\n"
    )
    store = library.FeatureStore(repo_path=str(folder))
    store.apply([entity, view])
    rows = f"read_parquet({quote(str(asked))})"
    frame = duckdb.sql(f"SELECT ticker, event_time AS event_timestamp, label FROM {rows}").df()
    start = time.perf_counter()
    found = store.get_historical_features(frame, [f"features:{each}" for each in names]).to_arrow()
    return measured(start, found.num_rows)


def measured(start: float, rows: int, **more: float) -> dict[str, float]:
    """Return seconds, rows and this process' peak of memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": time.perf_counter() - start, "rows": rows, "peak_gib": peak, **more}


WAYS = {"ours": ours, "bare": bare, "feast": feast}


def alone(way: str, folder: Path, asked: Path, features: int) -> dict[str, float]:
    """Measure a way in a process of its own."""
    words = [sys.executable, __file__, "--way", way, str(folder), str(asked), str(features)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the figures."""
    held = market(folder, options.tickers, options.days, options.features)
    asked = probes(folder, options.probes, options.tickers, options.days)
    found: dict[str, Any] = {"values": held, "probes": options.probes}
    for way in ("bare", "ours"):
        found[way] = alone(way, folder, asked, options.features)
    found["of_bare"] = found["bare"]["seconds"] / found["ours"]["seconds"]
    if options.feast:
        few = folder / "few"
        few.mkdir()
        market(few, options.tickers, min(options.days, 1), COMPARED_FEATURES)
        asked = probes(few, COMPARED_PROBES, options.tickers, min(options.days, 1))
        for way in ("ours", "feast"):
            found[f"{way}_few"] = alone(way, few, asked, COMPARED_FEATURES)
        found["of_feast"] = found["feast_few"]["seconds"] / found["ours_few"]["seconds"]
    return found


def lines(found: dict[str, Any]) -> list[str]:
    """Return the figures in words."""
    said = [f"{found['values']:,} values, {found['probes']:,} probes"]
    for way, each in found.items():
        if isinstance(each, dict):
            said.append(
                f"{way:10} {each['seconds']:7.1f} s  {each['rows'] / each['seconds']:12,.0f} rows/s"
                f"  peak {each['peak_gib']:.1f} GiB"
            )
    said.append(f"ours has {found['of_bare']:.0%} of the bare join's speed (goal 80 %)")
    if "of_feast" in found:
        said.append(f"ours is {found['of_feast']:.0f} times as fast as Feast (goal 50)")
    return said


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--probes", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--tickers", type=int, default=100)
    parser.add_argument("--days", type=int, default=37)
    parser.add_argument("--feast", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--way", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        way, folder, asked, features = options.way
        print(json.dumps(WAYS[way](Path(folder), Path(asked), int(features))))
        return
    with tempfile.TemporaryDirectory(prefix="ticklake-point-in-time-") as folder:
        found = compare(options, Path(folder))
    print(json.dumps(found) if options.json else "\n".join(lines(found)))


if __name__ == "__main__":
    main()

"""Each stage beside the raw limit of what it writes to, in the same run.

    python benchmarks/stages.py [--events 2000000] [--dsn DSN] [--json]

on the embedded PostgreSQL, or on an empty database of a server of any edition (--dsn).

- journal to hot (decode, take once, count, digest, one transaction a batch) beside a raw binary
  COPY of the same columns into the same tables, in batches of the same size;
- trades to bars in the hot tier, where the roll-ups are ours;
- hot to lake (rows, statistics, manifests, catalog) beside a raw Parquet write of the same rows:
  from the writer's memory, as it runs, and from PostgreSQL, as after a restart;
- a grouped sum over the last hour of the union view beside the same query on one plain Parquet
  file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from infra.exchange.frames import FrameRenderer
from infra.exchange.options import ExchangeOptions
from infra.exchange.order_flow import OrderFlow
from infra.servers.embedded import down, up
from lake.clock import SystemClock
from lake.hot.arrange import prepare
from lake.hot.bars import HotToBars, are_continuous
from lake.hot.edition import ask
from lake.hot.hot_reader import HotReader
from lake.hot.hot_tier import HotTier
from lake.hot.lease import COMMITTER, shard_lease, take
from lake.hot.partitions import ensure_partitions, existing_partitions, summarize
from lake.ingest import control, journal_to_hot
from lake.ingest.codecs import codecs
from lake.ingest.hot_to_lake import LAKE_DATASETS, HotToLake
from lake.ingest.recent_batches import RecentBatches
from lake.ingest.stored_keys import StoredUnion
from lake.journal.journal import Journal
from lake.journal.reader import JournalReader
from lake.tables.catalog import open_catalog
from lake.tables.data_file import parquet_options
from lake.tables.lake_table import LakeTable, announce
from lake.views.client import Client

QUERY_RUNS = 7
BATCH_FRAMES = 2_000
TICKS = ("crypto_trades", "crypto_quotes")
QUERY = (
    "SELECT ticker, count(*), sum(price * size) FROM {relation}"
    " WHERE event_time > now() - INTERVAL 1 HOUR GROUP BY 1"
)


def frames_of(events: int) -> list[list[bytes]]:
    """Return the simulated exchange's frames of so many events, some blocks at a time."""
    options = ExchangeOptions(tickers=100, rate=200_000, events=events, seed=3)
    base_us = SystemClock().now_us() - events * 5
    flow = OrderFlow(options, base_us=base_us)
    renderer = FrameRenderer(flow.pairs.names, options.events_per_frame)
    state = flow.first_state()
    batches: list[list[bytes]] = []
    while (made := flow.block(state)) is not None:
        block, state = made
        batches.append(renderer.frames(renderer.rows(block), block.tick)[0])
    return batches


def journalled(folder: Path, events: int) -> None:
    """Fill shard 0's journal."""
    journal = Journal(folder, 0, segment_bytes_max=64 << 20, bytes_max=1 << 40)
    now_us = SystemClock().now_us()
    journal.append("sim", 0, [control.dump(control.Up(0, now_us))], [now_us], control=True)
    for frames in frames_of(events):
        journal.append("sim", 0, frames, [now_us] * len(frames))
        journal.flush()
    journal.close()


def timed(action: Callable[[], Any]) -> float:
    """Return the seconds that an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def raw_copy(dsn: str, batches: list[dict[str, pa.Table]]) -> float:
    """COPY the same rows into the same tables; return the seconds. The rows are taken out again."""
    with adbc.connect(dsn) as connection:

        def copy() -> None:
            for tables in batches:
                with connection.cursor() as cursor:
                    for name in TICKS:
                        if name in tables:
                            cursor.adbc_ingest(
                                name, tables[name], mode="append", db_schema_name="market"
                            )
                connection.commit()

        seconds = timed(copy)
    with psycopg.connect(dsn, autocommit=True) as server:
        for name in TICKS:
            server.execute(f"TRUNCATE market.{name}")  # type: ignore[arg-type]
    return seconds


def measure(events: int, home: Path, dsn: str) -> dict[str, Any]:
    """Run every stage; return the figures."""
    journal_to_hot.FRAMES_MAX = BATCH_FRAMES
    warehouse = str(home / "warehouse")
    folder = home / "journal" / "shard-0"
    journalled(folder, events)
    connection = psycopg.connect(dsn, autocommit=True)
    lease, committer = take(connection, shard_lease(0)), take(connection, COMMITTER)
    assert lease is not None
    assert committer is not None
    announce(open_catalog(dsn, warehouse), LAKE_DATASETS, 0, tries_max=3)
    recent = RecentBatches(0, bytes_max=1 << 34)
    batches: list[dict[str, pa.Table]] = []
    reader = JournalReader(folder, 0)
    writer = journal_to_hot.JournalToHot(
        connection, HotTier(dsn), reader, codecs(), StoredUnion(dsn), lease, SystemClock(),
        recent=recent,
    )  # fmt: skip

    def write() -> None:
        while (built := writer.step()) is not None:
            batches.append(built.tables)

    path_s = timed(write)
    writer.close()
    rows = {name: pa.concat_tables([b[name] for b in batches if name in b]) for name in TICKS}
    count = sum(table.num_rows for table in rows.values())
    found: dict[str, Any] = {"edition": str(ask(connection)), "events": count}
    found["journal_to_hot_per_s"] = round(count / path_s)
    found |= bars_stage(connection, rows["crypto_trades"].num_rows)
    found |= lake_stage(dsn, warehouse, connection, committer.epoch, recent, rows, home)
    time.sleep(1)  # what the server counts for its statistics arrives with a delay
    for name in TICKS:  # as the mover's upkeep does every other second
        summarize(connection, name, existing_partitions(connection, name))
    found |= query_stage(dsn, rows["crypto_trades"], home)
    with psycopg.connect(dsn, autocommit=True) as server:
        for name in TICKS:
            server.execute(f"TRUNCATE market.{name}")  # type: ignore[arg-type]
    days = {t.date() for t in rows["crypto_trades"]["event_time"][::100_000].to_pylist()}
    for name in TICKS:
        ensure_partitions(connection, name, days)
    copy_s = raw_copy(dsn, batches)
    found["raw_copy_per_s"] = round(count / copy_s)
    found["journal_to_hot_of_raw"] = round(copy_s / path_s, 3)
    connection.close()
    return found


def bars_stage(connection: psycopg.Connection, trades: int) -> dict[str, Any]:
    """Merge all trades into the roll-ups; a server that keeps them does so in its own time."""
    if are_continuous(connection):
        return {}
    bars = HotToBars(connection, SystemClock())

    def roll() -> None:
        while bars.step():
            continue

    return {"trades_to_bars_per_s": round(trades / timed(roll))}


def lake_stage(
    dsn: str,
    warehouse: str,
    connection: psycopg.Connection,
    epoch: int,
    recent: RecentBatches,
    rows: dict[str, pa.Table],
    home: Path,
) -> dict[str, Any]:
    """Commit the same rows from PostgreSQL, then from memory, and write them as raw Parquet."""
    count = sum(table.num_rows for table in rows.values())

    def write_raw() -> None:
        for name, table in rows.items():
            pq.write_table(
                table, home / f"{name}.parquet", **parquet_options(table.schema, compact=False)
            )

    raw_s = timed(write_raw)
    seconds = {}
    for source, batches in (("hot", None), ("memory", recent)):
        catalog = open_catalog(dsn, warehouse, epoch=epoch)
        for name in TICKS:
            catalog.drop_table(f"market.{name}")
        announce(open_catalog(dsn, warehouse), LAKE_DATASETS, 0, tries_max=3)
        tables = [LakeTable(catalog, name, epoch=epoch) for name in TICKS]
        mover = HotToLake(connection, HotReader(dsn), tables, recent=batches)

        def drain(mover: HotToLake = mover) -> None:
            while mover.step().more:
                continue

        seconds[source] = timed(drain)
    return {
        "raw_parquet_per_s": round(count / raw_s),
        "hot_to_lake_per_s": round(count / seconds["memory"]),
        "hot_to_lake_of_raw": round(raw_s / seconds["memory"], 3),
        "hot_to_lake_after_restart_of_raw": round(raw_s / seconds["hot"], 3),
    }


def query_stage(dsn: str, trades: pa.Table, home: Path) -> dict[str, Any]:
    """Run the grouped sum over the union view and over one plain file."""
    path = home / "plain.parquet"
    pq.write_table(trades, path, compression="zstd")
    plain = duckdb.connect()
    plain.execute("SET TimeZone = 'UTC'")
    plain_sql = QUERY.format(relation=f"read_parquet('{path}')")
    plain_s = statistics.median(
        timed(lambda: plain.execute(plain_sql).fetchall()) for _ in range(QUERY_RUNS)
    )
    with Client(dsn) as client:
        union_sql = QUERY.format(relation="crypto_trades")
        union_s = statistics.median(
            timed(lambda: client.arrow(union_sql)) for _ in range(QUERY_RUNS)
        )
    return {
        "plain_query_ms": round(plain_s * 1000, 1),
        "union_query_ms": round(union_s * 1000, 1),
        "union_of_plain": round(union_s / plain_s, 2),
    }


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--dsn", help="an empty database, as postgresql://...")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        if options.dsn:
            home.mkdir()
            with psycopg.connect(options.dsn) as connection:
                prepare(connection)
            found = measure(options.events, home, options.dsn)
        else:
            try:
                found = measure(options.events, home, up(home).state["postgres"]["dsn"])
            finally:
                down(home)
    lines = [f"{name:>34} {value}" for name, value in found.items()]
    print(json.dumps(found) if options.json else "\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Quality: every rule on a million new rows of the hot tier, and how long that takes.

    python benchmarks/quality.py [--rows N] [--json]

Three fifths are trades, two fifths quotes, of ten tickers; their bars are made before and are new
too. The first figure is what a scheduled run pays when its libraries are loaded; loading them and
opening the views is measured apart. The raw limit beside it is one look at all columns of the rows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from importlib import import_module
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import duckdb
import psycopg

from flows.trades_to_bars import TradesToBars
from infra.servers.embedded import down, up
from lake.clock import SystemClock, utc_from_us
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.hot.partitions import ensure_partitions
from lake.views.client import Client
from lake.warehouse import warehouse_of

TICKERS = 10
STEP_US = 2_000
SPAN_BACK_US = 3_600_000_000


def fill(dsn: str, rows: int) -> None:
    """Bring rows into hot as one batch of a shard."""
    start_us = SystemClock().now_us() - SPAN_BACK_US
    place = (
        f"'X:' || (i % {TICKERS}) AS ticker, 'sim:1' AS exchange, 'spot' AS market,"
        f" make_timestamp({start_us} + i * {STEP_US})::TIMESTAMPTZ AS event_time,"
        " event_time AS received_time, 0::SMALLINT AS shard"
    )
    trades = (
        f"SELECT {place}, i::VARCHAR AS trade_id, (i << 16) | 1 AS seq, NULL AS conditions,"
        " (30000 + (i * 7919 % 1000) / 100)::DECIMAL(28, 10) AS price,"
        " ((1 + i % 77) / 1000)::DECIMAL(28, 10) AS size,"
        " CASE WHEN i % 2 = 0 THEN 'buy' ELSE 'sell' END AS side"
        f" FROM range(1, {rows * 3 // 5}) r (i)"
    )
    quotes = (
        f"SELECT {place}, (i << 16) | 2 AS seq, NULL::BIGINT AS venue_sequence,"
        " 'exchange' AS event_time_source, (30000 + i % 100)::DECIMAL(28, 10) AS bid_price,"
        " 1::DECIMAL(28, 10) AS bid_size, bid_price + 1 AS ask_price,"
        " 2::DECIMAL(28, 10) AS ask_size"
        f" FROM range(1, {rows * 2 // 5}) r (i)"
    )
    with duckdb.connect() as made, adbc.connect(dsn) as target, target.cursor() as cursor:
        made.execute("SET TimeZone = 'UTC'")
        with psycopg.connect(dsn) as connection:
            days = {utc_from_us(start_us).date(), utc_from_us(start_us + rows * STEP_US).date()}
            for dataset in ("crypto_trades", "crypto_quotes"):
                ensure_partitions(connection, dataset, days)
        for dataset, select in (("crypto_trades", trades), ("crypto_quotes", quotes)):
            names = ", ".join(load(dataset).names)
            table = made.execute(f"SELECT {names} FROM ({select})").to_arrow_table()
            table = table.cast(arrow_schema(load(dataset)))
            cursor.adbc_ingest(dataset, table, mode="append", db_schema_name="market")
        target.commit()
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO market.shards (shard, last_frame) VALUES (0, %s)", (rows,))
        connection.execute(
            "INSERT INTO market.ingest_batches (shard, epoch, first_frame, last_frame, feed,"
            " codec_version, frames, events, stored, quarantined, duplicate, ignored,"
            " committed_time, seq) VALUES (0, 1, 1, %s, 'sim', 1, %s, %s, %s, 0, 0, 0, now(), %s)",
            (rows, rows, rows, rows, rows << 16),
        )
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE market.crypto_trades, market.crypto_quotes")


def measure(home: Path, dsn: str, rows: int) -> dict[str, float]:
    """Return the figures."""
    warehouse = warehouse_of(home)
    fill(dsn, rows)
    with TradesToBars(dsn, warehouse) as maker:
        bars = sum(step.put for step in maker.drain())
    with Client(dsn, warehouse) as client:
        client.refresh()
        start = time.perf_counter()
        for dataset in ("crypto_trades", "crypto_quotes"):
            client.duckdb.execute(f"CREATE TEMP TABLE raw_{dataset} AS FROM {dataset}")
        raw_s = time.perf_counter() - start
    start = time.perf_counter()
    checks = import_module("flows.rows_to_quality").RowsToQuality(dsn, warehouse)
    load_s = time.perf_counter() - start
    start, start_cpu = time.perf_counter(), time.process_time()
    with checks:
        runs = checks.drain()
    run_s, run_cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    return {
        "rows": rows,
        "bars": bars,
        "rules": len(runs[0].results),
        "run_s": run_s,
        "run_cpu_s": run_cpu_s,
        "load_s": load_s,
        "raw_read_s": raw_s,
        "rows_per_s": rows / run_s,
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve() / "home"
        try:
            found = measure(home, up(home).state["postgres"]["dsn"], given.rows)
        finally:
            down(home)
    if given.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:12} {value:,.2f}")


if __name__ == "__main__":
    main()

"""Bars: 10 M trades to bars of every interval, and the close of a minute in a table that is large.

    python benchmarks/bars.py [--trades N] [--minutes N] [--live-minutes N] [--rate N] [--json]

The kernel is measured on columns in memory, beside the sum of the same columns as the raw limit;
the minute on the calculation of its changes against what is held, without the commit. Live: an
exchange, an ingest and the process that stays (`flows.serve`) run; of each minute, the time from
the commit of the batch with its last trade to the moment at which a reader sees its bars.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import duckdb
import psycopg

from infra.servers.embedded import down, up
from lake.bars.changes import Inputs, changes, prepare
from lake.bars.kernel import INTERVALS, MINUTE_US, longer, seconds_of_trades, teach
from lake.views.client import Client
from lake.warehouse import warehouse_of

START_US = 1_700_000_000_000_000 // MINUTE_US * MINUTE_US
TICKERS = 10
LOOK_S = 0.05
MINUTE = timedelta(minutes=1)
READABLE_S_MAX = 30.0
CLOSE_S_MAX = 5.0

_STORED = """
SELECT max(b.committed_time) FROM market.ingest_batches AS b JOIN (
  SELECT shard, max(seq) >> 16 AS frame FROM market.crypto_trades
  WHERE event_time >= %s AND event_time < %s GROUP BY 1) AS t
ON t.shard = b.shard AND t.frame BETWEEN b.first_frame AND b.last_frame
"""


def market(connection: duckdb.DuckDBPyConnection, trades: int) -> int:
    """Make trades 300 us apart; return the end of the last whole minute."""
    connection.execute(f"""
        CREATE TABLE crypto_trades AS SELECT 'X:' || (i % {TICKERS}) AS ticker,
            'sim:1' AS exchange, 'spot' AS market,
            make_timestamp({START_US} + i * 300)::TIMESTAMPTZ AS event_time,
            event_time AS received_time,
            (30000 + (i * 7919 % 1000) / 100)::DECIMAL(28, 10) AS price,
            ((1 + i % 77) / 1000)::DECIMAL(28, 10) AS size,
            CASE WHEN i % 2 = 0 THEN 'buy' ELSE 'sell' END AS side, NULL::VARCHAR AS conditions,
            0::SMALLINT AS shard, i << 16 AS seq
        FROM range({trades}) AS r (i)""")
    connection.execute(
        "CREATE TABLE crypto_aggregates AS SELECT ticker, exchange, market, event_time,"
        ' received_time, \'1m\' AS "interval", price AS "open", price AS high, price AS low,'
        ' price AS "close", size AS volume, price AS vwap, shard, seq FROM crypto_trades LIMIT 0'
    )
    return (START_US + trades * 300) // MINUTE_US * MINUTE_US


def seconds(statement: str, connection: duckdb.DuckDBPyConnection) -> float:
    """Return how long a statement takes."""
    start = time.perf_counter()
    connection.execute(statement)
    return time.perf_counter() - start


def measure(trades: int, minutes: int) -> dict[str, float]:
    """Return the figures."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    teach(connection)
    prepare(connection)
    end_us = market(connection, trades)
    raw_s = seconds("SELECT max(price), sum(size) FROM crypto_trades GROUP BY ticker", connection)
    first = longer(f"({seconds_of_trades('crypto_trades')})", "1s")
    whole_s = seconds(f"CREATE TEMP TABLE b_1s AS {first}", connection)
    for finer, interval in pairwise(INTERVALS):
        whole_s += seconds(
            f"CREATE TEMP TABLE b_{interval} AS {longer(f'b_{finer}', interval)}", connection
        )
    closes = []
    held = "CREATE TABLE bars AS " + " UNION ALL ".join(f"FROM b_{i}" for i in INTERVALS[:2])
    connection.execute(held)
    for back in range(minutes, 0, -1):
        from_us, to_us = end_us - back * MINUTE_US, end_us - (back - 1) * MINUTE_US
        window = f"event_time >= from_us({from_us}) AND event_time < from_us({to_us})"
        new = f"FROM crypto_trades WHERE {window}"
        start = time.perf_counter()
        changes(connection, Inputs(new, "FROM crypto_aggregates", "bars", from_us, to_us))
        closes.append(time.perf_counter() - start)
    closes.sort()
    return {
        "trades": trades,
        "trades_per_s": trades / whole_s,
        "whole_s": whole_s,
        "raw_s": raw_s,
        "minute_p50_s": statistics.median(closes),
        "minute_p99_s": closes[min(len(closes) - 1, int(len(closes) * 0.99))],
    }


@contextmanager
def running(home: Path, rate: int) -> Iterator[str]:
    """Run servers, exchange, ingest and the process that stays; yield the hot tier's address."""
    command = [sys.executable, "-m", "infra.command.main"]
    place = ["--home", str(home)]
    dsn = str(up(home).state["postgres"]["dsn"])
    environ = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    orders = (
        [*command, "sim", "--rate", str(rate), *place],
        [*command, "ingest", "sim", *place],
        [sys.executable, "-m", "flows.serve", str(home)],
    )
    processes = []
    try:
        for order in orders:
            processes.append(subprocess.Popen(order, stdout=subprocess.DEVNULL, env=environ))
            time.sleep(3)
        yield dsn
    finally:
        for process in reversed(processes):
            process.send_signal(2)
            process.wait(60)
        down(home)


def close_s(client: Client, dsn: str, start: datetime) -> float:
    """Wait for a minute's bars; return the seconds since its last trade was stored."""
    end = start + MINUTE
    time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds()))
    query = f"SELECT count(*) FROM bars WHERE \"interval\" = '1m' AND event_time = '{start}'"
    while not client.arrow(query)[0][0].as_py():
        if datetime.now(UTC) > end + timedelta(seconds=READABLE_S_MAX):
            return READABLE_S_MAX
        time.sleep(LOOK_S)
    seen = datetime.now(UTC)
    with psycopg.connect(dsn) as connection:
        row = connection.execute(_STORED, (start, end)).fetchone()
    assert row is not None
    assert row[0] is not None
    return float((seen - row[0]).total_seconds())


def measure_live(minutes: int, rate: int) -> dict[str, float]:
    """Return the close of so many minutes, end to end."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with running(home, rate) as dsn, Client(dsn, warehouse_of(home)) as client:
            first = datetime.now(UTC).replace(second=0, microsecond=0) + MINUTE
            closes = [close_s(client, dsn, first + MINUTE * i) for i in range(minutes)]
            row = client.arrow("SELECT count(*) FROM crypto_trades")[0][0].as_py()
    closes.sort()
    return {
        "live_minutes": minutes,
        "live_trades": row,
        "live_close_p50_s": statistics.median(closes),
        "live_close_p99_s": closes[min(len(closes) - 1, int(len(closes) * 0.99))],
    }


def main() -> int:
    """Print the figures; end with 1 where a minute closes too late."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=10_000_000)
    parser.add_argument("--minutes", type=int, default=40)
    parser.add_argument("--live-minutes", type=int, default=0, help="minutes to watch, live")
    parser.add_argument("--rate", type=int, default=2_000, help="events a second, live")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.trades, given.minutes)
    if given.live_minutes:
        found |= measure_live(given.live_minutes, given.rate)
    if given.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:16} {value:,.3f}")
    return 0 if found.get("live_close_p99_s", 0.0) <= CLOSE_S_MAX else 1


if __name__ == "__main__":
    sys.exit(main())

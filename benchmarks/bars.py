"""Bars: 10 M trades to bars of every interval, and the close of a minute in a table that is large.

    python benchmarks/bars.py [--trades N] [--minutes N] [--json]

The kernel is measured on columns in memory, beside the sum of the same columns as the raw limit;
the minute on the calculation of its changes against what is held, without the commit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from itertools import pairwise

import duckdb

from lake.bars.changes import Inputs, changes, prepare
from lake.bars.kernel import INTERVALS, MINUTE_US, longer, seconds_of_trades, teach

START_US = 1_700_000_000_000_000 // MINUTE_US * MINUTE_US
TICKERS = 10


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


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=int, default=10_000_000)
    parser.add_argument("--minutes", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.trades, given.minutes)
    if given.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:16} {value:,.3f}")


if __name__ == "__main__":
    main()

"""The arithmetic of bars, as SQL of DuckDB over exact decimals: the same for batch and live.

Trades make bars of a second, and bars make longer bars. Nothing is rounded but vwap, and nothing
depends on the order or on the pieces in which trades come: first and last go by event_time, then by
the trade's position in its journal, and both stay with the bar.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.in_memory import ARROW_ROWS, in_memory

INTERVALS = ("1s", "1m", "5m", "1h", "1d")
"""Each is made of the one before."""

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
DAY_US = 86_400 * SECOND_US
WIDTHS_US = dict(
    zip(INTERVALS, (SECOND_US, MINUTE_US, 5 * MINUTE_US, 60 * MINUTE_US, DAY_US), strict=True)
)
"""Length of a bucket; every bucket starts at a multiple of it since the epoch."""

DATASET = "bars"
TRADES, PUBLISHED, MIXED = "trades", "crypto_aggregates", "mixed"
"""What a bar is made of, in its column source."""

COLUMNS = load(DATASET).names
SERIES = ("ticker", "exchange", "market")
KEY = (*SERIES, "interval", "event_time")

MACROS = (
    # which came first: by time, then by arrival
    "CREATE OR REPLACE TEMP MACRO place(t, seq) AS"
    " epoch_us(t)::HUGEINT * 18446744073709551616::HUGEINT + seq",
    "CREATE OR REPLACE TEMP MACRO bucket_us(t, width_us) AS epoch_us(t) // width_us * width_us",
    "CREATE OR REPLACE TEMP MACRO from_us(us) AS make_timestamp(us)::TIMESTAMPTZ",
    # the whole number of units of the last place
    "CREATE OR REPLACE TEMP MACRO units(value) AS replace(value::VARCHAR, '.', '')::HUGEINT",
    # a turnover has 20 places and a volume 10, so their units' quotient has the price's 10
    "CREATE OR REPLACE TEMP MACRO mean_price(turnover, volume) AS CASE WHEN volume > 0 THEN"
    " (((2 * units(turnover) + units(volume)) // (2 * units(volume)))::DECIMAL(38, 0)"
    " * 0.0000000001)::DECIMAL(28, 10) END",
    # Massive's venues share one publisher of bars
    "CREATE OR REPLACE TEMP MACRO venue_of(exchange) AS split_part(exchange, ':', 1)",
)


def teach(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the macros known that the statements here use; the session must be in UTC."""
    for macro in MACROS:
        connection.execute(macro)


def seconds_of_trades(relation: str) -> str:
    """Select bars of a second from trades; prints that the contract excludes are left out."""
    excluded = ", ".join(f"'{code}'" for code in load(DATASET).excluded_conditions)
    return f"""
        SELECT ticker, exchange, market, from_us(bucket_us(event_time, {SECOND_US})) AS event_time,
            max(received_time) AS received_time, '1s' AS "interval",
            arg_min(price, place(event_time, seq)) AS "open", max(price) AS high,
            min(price) AS low, arg_max(price, place(event_time, seq)) AS "close",
            sum(size)::DECIMAL(28, 10) AS volume, sum(price * size)::DECIMAL(38, 20) AS turnover,
            NULL::DECIMAL(28, 10) AS vwap, count(*) AS trades,
            coalesce(sum(size) FILTER (side = 'buy'), 0)::DECIMAL(28, 10) AS buy_volume,
            coalesce(sum(size) FILTER (side = 'sell'), 0)::DECIMAL(28, 10) AS sell_volume,
            min(event_time) AS first_time, arg_min(seq, place(event_time, seq)) AS first_seq,
            max(event_time) AS last_time, arg_max(seq, place(event_time, seq)) AS last_seq,
            '{TRADES}' AS source
        FROM {relation} WHERE coalesce(conditions NOT IN ({excluded}), true)
        GROUP BY ticker, exchange, market, bucket_us(event_time, {SECOND_US})"""


def longer(relation: str, interval: str) -> str:
    """Select bars of an interval from bars that are no longer than it, none twice."""
    return f"""
        SELECT ticker, exchange, market, from_us(at_us) AS event_time, received_time,
            '{interval}' AS "interval", "open", high, low, "close", volume, turnover,
            mean_price(turnover, volume) AS vwap, trades, buy_volume, sell_volume,
            first_time, first_seq, last_time, last_seq, source
        FROM (
            SELECT ticker, exchange, market, bucket_us(event_time, {WIDTHS_US[interval]}) AS at_us,
                max(received_time) AS received_time,
                arg_min("open", place(first_time, first_seq)) AS "open", max(high) AS high,
                min(low) AS low, arg_max("close", place(last_time, last_seq)) AS "close",
                sum(volume)::DECIMAL(28, 10) AS volume,
                {_whole("turnover", "DECIMAL(38, 20)")},
                {_whole("trades", "BIGINT")},
                {_whole("buy_volume", "DECIMAL(28, 10)")},
                {_whole("sell_volume", "DECIMAL(28, 10)")},
                min(first_time) AS first_time,
                arg_min(first_seq, place(first_time, first_seq)) AS first_seq,
                max(last_time) AS last_time,
                arg_max(last_seq, place(last_time, last_seq)) AS last_seq,
                CASE WHEN min(source) = max(source) THEN min(source) ELSE '{MIXED}' END AS source
            FROM {relation} GROUP BY ALL)"""


def published(relation: str) -> str:
    """Select published bars as bars of ours; those that contradict themselves are left out.

    first_time and last_time span the bucket, so that such a bar is known from one made of shorter
    ones: its first and last position is the same.
    """
    width = f"CASE \"interval\" WHEN '1s' THEN {SECOND_US} ELSE {MINUTE_US} END"
    return f"""
        SELECT ticker, exchange, market, event_time, received_time, "interval", "open", high, low,
            "close", volume, (vwap * volume)::DECIMAL(38, 20) AS turnover, vwap,
            NULL::BIGINT AS trades, NULL::DECIMAL(28, 10) AS buy_volume,
            NULL::DECIMAL(28, 10) AS sell_volume, event_time AS first_time, seq AS first_seq,
            from_us(epoch_us(event_time) + {width} - 1) AS last_time, seq AS last_seq,
            '{PUBLISHED}' AS source
        FROM {relation}
        WHERE low <= least("open", "close") AND high >= greatest("open", "close") AND volume >= 0
            AND bucket_us(event_time, {width}) = epoch_us(event_time)"""


def is_published(interval: str) -> str:
    """Return the condition of a bar that was published with this interval, not made of shorter."""
    return (
        f"source = '{PUBLISHED}' AND first_seq = last_seq"
        f" AND epoch_us(last_time) - epoch_us(first_time) = {WIDTHS_US[interval] - 1}"
    )


def bars_of_trades(trades: pa.Table, interval: str) -> pa.Table:
    """Return the bars of these trades, whole or not, by key; the live path's way in.

    trades: columns of crypto_trades; raises duckdb.OutOfRangeException where a turnover has more
    than 18 digits before the point.
    """
    with in_memory() as connection:
        teach(connection)
        connection.register("trades_given", trades)
        connection.execute(f"CREATE TEMP TABLE seconds AS {seconds_of_trades('trades_given')}")
        order = ", ".join(f'"{name}"' for name in KEY)
        found = connection.execute(f"FROM ({longer('seconds', interval)}) ORDER BY {order}")
        return found.to_arrow_table(ARROW_ROWS).cast(arrow_schema(load(DATASET)))


def _whole(column: str, kind: str) -> str:
    """Return the sum of a column that is known only where every part is."""
    return f"CASE WHEN count({column}) = count(*) THEN sum({column})::{kind} END AS {column}"

"""Quotes become one row a minute, as SQL over exact decimals: the same for batch and live.

Nothing depends on the order or on the pieces in which quotes come: the last goes by event_time,
then by its position in the journal, and sums are exact.
"""

from __future__ import annotations

import pyarrow as pa

from lake.bars.kernel import KEY, MINUTE_US, SERIES, teach
from lake.in_memory import ARROW_ROWS, in_memory

QUOTES = "crypto_quotes"
INTERVAL = "1m"
LAST = ("bid_price", "bid_size", "ask_price", "ask_size")


def quote_minutes(relation: str) -> str:
    """Select a row per series and minute from quotes; event_time is the minute's start.

    received_time: of the last of them to come. Sizes are in base, prices in quote currency.
    """
    last = ", ".join(f"arg_max({name}, place(event_time, seq)) AS {name}" for name in LAST)
    series = ", ".join(SERIES)
    return f"""
        SELECT {series}, '{INTERVAL}' AS "interval", from_us(at_us) AS event_time, received_time,
            ask_price - bid_price AS last_spread, ask_price + bid_price AS last_prices,
            bid_size - ask_size AS last_size_difference, bid_size + ask_size AS last_sizes,
            asks - bids AS sum_spread, asks + bids AS sum_prices,
            bid_sizes - ask_sizes AS sum_size_difference, bid_sizes + ask_sizes AS sum_sizes, quotes
        FROM (
            SELECT {series}, bucket_us(event_time, {MINUTE_US}) AS at_us,
                max(received_time) AS received_time, {last},
                sum(bid_price) AS bids, sum(ask_price) AS asks, sum(bid_size) AS bid_sizes,
                sum(ask_size) AS ask_sizes, count(*) AS quotes
            FROM {relation} GROUP BY ALL)"""


def minutes_of_quotes(quotes: pa.Table) -> pa.Table:
    """Return the minutes of these quotes, whole or not, by key; the live path's way in.

    quotes: columns of crypto_quotes.
    """
    with in_memory() as connection:
        teach(connection)
        connection.register("quotes_given", quotes)
        order = ", ".join(f'"{name}"' for name in KEY)
        return connection.execute(
            f"FROM ({quote_minutes('quotes_given')}) ORDER BY {order}"
        ).to_arrow_table(ARROW_ROWS)

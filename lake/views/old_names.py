"""Imported rows, hot and lake, under the table and column names of the earlier database."""

from __future__ import annotations

from collections.abc import Iterator

from lake.views.client import Client

SCHEMA = "old_names"
"""Schema of these views in a client's connection; it is looked in first once they are there."""

_VIEWS = {
    "crypto_trades": """
        SELECT trade_id AS id, ticker, event_time, event_time AS "timestamp", price, size,
            nullif(substr(exchange, {skip}), '') AS exchange,
            string_split(conditions, ',') AS conditions, received_time AS created_at
        FROM main.crypto_trades WHERE starts_with(exchange, '{name}:')""",
    "crypto_quotes": """
        SELECT venue_sequence AS id, ticker, event_time, event_time AS "timestamp",
            bid_price, bid_size, ask_price, ask_size,
            nullif(substr(exchange, {skip}), '') AS exchange, received_time AS created_at
        FROM main.crypto_quotes WHERE starts_with(exchange, '{name}:')""",
    "crypto_aggregates": """
        SELECT ticker, event_time, event_time AS "timestamp", "open", high, low, "close", volume,
            vwap, round(volume / nullif(average_trade_size, 0))::int AS trade_count,
            received_time AS created_at
        FROM main.crypto_aggregates WHERE starts_with(exchange, '{name}:')""",
    "market_sentiment": """
        SELECT metadata ->> 'old_id' AS id, asset, event_time, event_time AS "timestamp",
            substr(source, {skip}) AS source, metadata ->> 'sentiment_label' AS sentiment_label,
            sentiment_score, confidence, metadata ->> 'text' AS text,
            metadata -> 'metadata' AS metadata, received_time AS created_at
        FROM main.market_sentiment WHERE starts_with(source, '{name}:')""",
}


def statements(name: str) -> Iterator[str]:
    """Yield what makes the views of one import, and has them found by their bare names."""
    yield f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"
    for table, query in _VIEWS.items():
        text = query.format(name=name, skip=len(name) + 2)
        yield f"CREATE OR REPLACE VIEW {SCHEMA}.{table} AS {text}"
    yield f"SET search_path = '{SCHEMA},main'"


def with_old_names(client: Client, name: str) -> Client:
    """Have a client find the earlier database's tables by their names; return it."""
    client.refresh()
    for statement in statements(name):
        client.duckdb.execute(statement)
    return client

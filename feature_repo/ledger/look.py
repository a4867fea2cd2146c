"""What a person asks of the ledger: orders as they stand, and the events of one."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

EVENTS_SHOWN_MAX = 10_000


def newest_orders(
    connection: psycopg.Connection[Any], account: str, limit: int
) -> list[dict[str, str]]:
    """Return orders as they stand, the newest first; account "": of all."""
    query = """
        SELECT updated_time, account, client_order_id, current_state, side, kind, filled_size, size,
            ticker, exchange, market, price, filled_value, fees, order_id
        FROM market.orders WHERE %(account)s IN ('', account) ORDER BY event_id DESC LIMIT %(limit)s
        """
    return _rows(connection, query, {"account": account, "limit": limit})


def events_of(
    connection: psycopg.Connection[Any], order: str, account: str
) -> list[dict[str, str]]:
    """Return the events of an order, named by its id or its client order id, in their sequence."""
    query = """
        SELECT e.id, e.sequence_number, e.event_time, e.event_type, e.account, e.client_order_id,
            e.side, e.ticker, e.exchange, e.market, e.price, e.size, e.fee, e.liquidity,
            e.command_id, e.event_data, e.hash
        FROM market.order_events AS e
        JOIN market.orders AS o ON o.order_id = e.order_id
        WHERE %(order)s IN (o.order_id, o.client_order_id) AND %(account)s IN ('', o.account)
        ORDER BY e.order_id, e.sequence_number LIMIT %(limit)s
        """
    given = {"order": order, "account": account, "limit": EVENTS_SHOWN_MAX}
    return _rows(connection, query, given)


def _rows(
    connection: psycopg.Connection[Any], query: str, given: dict[str, object]
) -> list[dict[str, str]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(query.encode(), given)
        return [
            {name: "" if value is None else str(value) for name, value in row.items()}
            for row in cursor
        ]

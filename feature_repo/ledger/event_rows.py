"""Events as rows of PostgreSQL, and back. Amounts go as text with ten places: never a float."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import psycopg
from psycopg import sql

from feature_repo.ledger.chain import SEPARATOR, Field
from feature_repo.ledger.order_event import OrderEvent
from feature_repo.ledger.position import PositionEvent
from feature_repo.trading.market import Instrument
from feature_repo.trading.money import times, units
from lake.clock import utc_from_us
from lake.contracts.contract import Column, load

ORDERS = "order_events"
POSITIONS = "position_events"
CHAINS = (ORDERS, POSITIONS)
"""The two chains, by the names of their tables."""

ROWS_READ = 10_000
"""Rows that a reading of everything holds at a time."""

Event = OrderEvent | PositionEvent


@cache
def text_sql(chain: str) -> str:
    """Return the SQL of an event's canonical text, of a row of its table, and nobody's function."""
    fields = ", ".join(_text(column) for column in load(chain).columns if column.name != "hash")
    return f"concat_ws(E'\\x{ord(SEPARATOR):02x}', {fields})"


def read_orders(connection: psycopg.Connection, order_ids: Sequence[str]) -> list[OrderEvent]:
    """Return every event of these orders, in order."""
    query = f"SELECT {_fields(ORDERS)} FROM market.{ORDERS} WHERE order_id = ANY(%s) ORDER BY id"
    return [order_event(row) for row in connection.execute(query.encode(), (list(order_ids),))]


def newest_events(connection: psycopg.Connection, limit: int) -> list[OrderEvent]:
    """Return the newest events of all orders, the newest first."""
    query = f"SELECT {_fields(ORDERS)} FROM market.{ORDERS} ORDER BY id DESC LIMIT %s"
    return [order_event(row) for row in connection.execute(query.encode(), (limit,))]


def orders_in_turn(connection: psycopg.Connection, upto: int) -> Iterator[OrderEvent]:
    """Yield every event up to an id, order by order, each order's in its sequence."""
    with connection.cursor(name="orders_in_turn") as cursor:
        cursor.itersize = ROWS_READ
        cursor.execute(
            f"SELECT {_fields(ORDERS)} FROM market.{ORDERS} WHERE id <= {upto:d}"
            " ORDER BY order_id, sequence_number".encode()
        )
        for row in cursor:
            yield order_event(row)


def order_event(row: Sequence[Any]) -> OrderEvent:
    """Return the event of a row of its fields."""
    amounts = (None if each is None else units(each) for each in row[13:16])
    values: tuple[Any, ...] = (*row[:8], Instrument(*row[8:11]), *row[11:13], *amounts, *row[16:19])
    return OrderEvent(*values)


def position_event(row: Sequence[Any]) -> PositionEvent:
    """Return the event of a row of its fields."""
    amounts = (None if each is None else units(each) for each in row[11:19])
    values: tuple[Any, ...] = (*row[:7], Instrument(*row[7:10]), row[10], *amounts, *row[19:21])
    return PositionEvent(*values)


def last_positions(connection: psycopg.Connection, ids: Sequence[str]) -> list[PositionEvent]:
    """Return the last event of each of these positions."""
    query = f"""
        SELECT last.* FROM unnest(%s::text[]) AS wanted (id) CROSS JOIN LATERAL (
            SELECT {_fields(POSITIONS)} FROM market.{POSITIONS} AS e
            WHERE position_id = wanted.id ORDER BY sequence_number DESC LIMIT 1) AS last
        """
    return [position_event(row) for row in connection.execute(query.encode(), (list(ids),))]


def cash_of(connection: psycopg.Connection, accounts: Sequence[str]) -> dict[str, int]:
    """Return the cash of each of these accounts; 0 for one that has no event."""
    query = f"""
        SELECT wanted.account, last.cash_after::text
        FROM unnest(%s::text[]) AS wanted (account) LEFT JOIN LATERAL (
            SELECT cash_after FROM market.{POSITIONS} AS e
            WHERE e.account = wanted.account ORDER BY id DESC LIMIT 1) AS last ON true
        """
    rows = connection.execute(query.encode(), (list(accounts),))
    return {account: units(cash) if cash else 0 for account, cash in rows}


def opened_with(connection: psycopg.Connection, account: str) -> int | None:
    """Return the money that an account began with; None for one that is not there, or was
    taken over from an earlier system.
    """
    query = f"""
        SELECT event_type, cash_after::text FROM market.{POSITIONS}
        WHERE account = %s ORDER BY id LIMIT 1
        """
    row = connection.execute(query.encode(), (account,)).fetchone()
    return units(row[1]) if row is not None and row[0] == "moved" else None


def equity_before(connection: psycopg.Connection, account: str, time_us: int) -> int | None:
    """Return what an account was worth by what was written before a time, at the prices noted
    last; None where nothing was.
    """
    query = f"""
        SELECT DISTINCT ON (position_id) id, cash_after::text, size_after::text,
            coalesce(price, 0)::text
        FROM market.{POSITIONS} WHERE account = %s AND created_at < %s
        ORDER BY position_id, sequence_number DESC
        """
    rows = connection.execute(query.encode(), (account, utc_from_us(time_us))).fetchall()
    if not rows:
        return None
    return units(max(rows)[1]) + sum(times(units(price), units(size)) for *_, size, price in rows)


def commands_done(
    connection: psycopg.Connection, commands: Iterable[tuple[str, str]]
) -> list[PositionEvent]:
    """Return the events of those commands, each position and command id, that were done."""
    wanted = list(commands)
    query = f"""
        SELECT {_fields(POSITIONS)} FROM market.{POSITIONS}
        JOIN unnest(%s::text[], %s::text[]) AS wanted (position, command)
            ON position_id = wanted.position AND command_id = wanted.command
        """
    given = ([position for position, _ in wanted], [command for _, command in wanted])
    return [position_event(row) for row in connection.execute(query.encode(), given)]


def write(
    connection: psycopg.Connection, chain: str, events: Sequence[Event], hashes: Sequence[str]
) -> None:
    """Add events with their hashes; the server refuses what does not follow its last one."""
    columns = load(chain).columns
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
    copy = sql.SQL("COPY market.{} ({}) FROM STDIN").format(sql.Identifier(chain), names)
    with connection.cursor().copy(copy) as into:
        for event, hash_ in zip(events, hashes, strict=True):
            cells = map(_cell, event.fields(), columns)
            into.write_row((*cells, hash_))


def _cell(field: Field, column: Column) -> object:
    if column.type == "time":
        assert isinstance(field, int)
        return utc_from_us(field)
    return None if field == "" and not column.required else field


@cache
def _fields(chain: str) -> str:
    """Return what is selected of a row, as `fields` of the event has it."""
    columns = load(chain).columns
    return ", ".join(_selected(column) for column in columns if column.name != "hash")


def _selected(column: Column) -> str:
    if column.type == "time":
        return f"(extract(epoch FROM {column.name}) * 1000000)::bigint"
    return f"{column.name}::text" if column.type == "decimal" else column.name


def _text(column: Column) -> str:
    text = _selected(column)
    text = text if text.endswith("::text") or column.type == "text" else f"{text}::text"
    return text if column.required else f"coalesce({text}, '')"

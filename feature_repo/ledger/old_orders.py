"""Orders, positions and snapshots of an earlier database become opening events of the ledger.

Names of columns differ from schema to schema, so each value is looked for under the names it had.
A row that does not fit is left out and said; a second run adds what is new, and says which rows
have changed since: what is in the ledger stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import Any, cast

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from feature_repo.ledger.commands import Cash, Command, ImportOrder, ImportPosition
from feature_repo.ledger.writer import COMMANDS_MAX, Writer
from feature_repo.trading.market import Instrument
from feature_repo.trading.money import times, units
from feature_repo.trading.order import Kind, Order, Side, State
from lake.errors import BadInput, TicklakeError

TABLES = ("orders", "positions", "portfolio_snapshots")

NAMES: Mapping[str, tuple[str, ...]] = {
    "id": ("order_id", "position_id", "id"),
    "ticker": ("ticker", "symbol", "asset"),
    "exchange": ("exchange", "venue"),
    "size": ("quantity", "size", "amount"),
    "kind": ("order_type", "type"),
    "price": ("price", "limit_price", "stop_price"),
    "filled": ("filled_quantity", "filled_size", "executed_quantity"),
    "average": ("average_fill_price", "avg_fill_price", "filled_avg_price", "average_price"),
    "entry": (
        "average_price",
        "avg_price",
        "entry_price",
        "average_entry_price",
        "avg_entry_price",
    ),
    "mark": ("current_price", "mark_price", "last_price", "price"),
    "fees": ("fees", "fee", "commission"),
    "realised": ("realized_pnl", "realised_pnl"),
    "state": ("status", "current_state", "state"),
    "time": ("created_at", "submitted_at", "opened_at", "timestamp", "event_time", "snapshot_time"),
    "cash": ("cash", "cash_balance", "available_cash"),
    "total": ("total_value", "portfolio_value", "equity"),
}
"""Value -> the columns it was found under."""

STATES: Mapping[str, State] = {
    **dict.fromkeys(("pending", "new", "created", "submitted"), "created"),
    **dict.fromkeys(("open", "active", "accepted"), "accepted"),
    **dict.fromkeys(("partial", "partially_filled"), "partially_filled"),
    **dict.fromkeys(("filled", "executed", "closed"), "filled"),
    **dict.fromkeys(("cancelled", "canceled"), "cancelled"),
    **dict.fromkeys(("rejected", "failed"), "rejected"),
    "expired": "expired",
}
"""Word of an earlier system -> state."""


@dataclass(slots=True)
class Taken:
    """What became of a table: rows read, of them new in the ledger; why others are not."""

    table: str
    rows: int = 0
    new: int = 0
    refused: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return it in words."""
        said = f"{self.table}: {self.new:,} of {self.rows:,} rows entered"
        if not self.refused:
            return said
        return f"{said}; {len(self.refused):,} left out, the first: {self.refused[0]}"


def import_orders(old_dsn: str, schema: str, account: str, writer: Writer) -> list[Taken]:
    """Enter the old tables that are there into the ledger, under one account."""
    found = []
    with psycopg.connect(old_dsn) as old:
        for table in TABLES:
            there = old.execute("SELECT to_regclass(%s)", (f'"{schema}"."{table}"',)).fetchone()
            if there and there[0]:
                rows = _rows(old, schema, table)
                found.append(_enter(table, rows, f"{schema}.{table}", account, writer))
    if not found:
        fault = f"has none of {', '.join(TABLES)}"
        raise BadInput(f"schema {schema}", fault, "name another with --schema")
    return found


def _rows(old: psycopg.Connection, schema: str, table: str) -> Iterator[dict[str, Any]]:
    with old.cursor(name=f"old_{table}", row_factory=dict_row) as cursor:
        columns = old.execute(
            sql.SQL("SELECT * FROM {} LIMIT 0").format(sql.Identifier(schema, table))
        ).description
        have = [each.name for each in columns or ()]
        by = next((each for each in NAMES["time"] if each in have), have[0])
        cursor.execute(
            sql.SQL("SELECT * FROM {} ORDER BY {}").format(
                sql.Identifier(schema, table), sql.Identifier(by)
            )
        )
        yield from cursor


def _enter(
    table: str, rows: Iterator[dict[str, Any]], source: str, account: str, writer: Writer
) -> Taken:
    taken = Taken(table)
    cash = 0
    while some := list(islice(rows, COMMANDS_MAX)):
        commands: list[Command] = []
        for row in some:
            taken.rows += 1
            try:
                if table == "orders":
                    commands.append(_order(row, source, account))
                elif table == "positions":
                    commands.append(_position(row, source, account))
                else:
                    held = units(_decimal(row, "cash"))
                    commands.append(_snapshot(row, source, account, held - cash))
                    cash = held
            except TicklakeError as error:
                taken.refused.append(str(error))
        for outcome in writer.commit(commands):
            taken.new += outcome.is_new
            if outcome.refusal is not None:
                taken.refused.append(str(outcome.refusal))
    return taken


def _order(row: Mapping[str, Any], source: str, account: str) -> ImportOrder:
    name = str(_value(row, "id"))
    kind = _kind(str(_value(row, "kind", "limit")))
    size = units(_decimal(row, "size"))
    state = STATES.get(str(_value(row, "state")).lower())
    side = str(_value(row, "side")).lower()
    if state is None or side not in ("buy", "sell"):
        fault = f"has state {_value(row, 'state')} and side {side}"
        raise BadInput(f"order {name}", fault, f"states are {', '.join(STATES)}")
    price = units(_decimal(row, "price")) if kind != "market" else None
    filled = units(_decimal(row, "filled", "0"))
    if state == "filled" and not filled:
        filled = size
    if state in ("created", "accepted") and filled:
        state = "partially_filled"
    average = units(_decimal(row, "average", _value(row, "price", 0) or 0))
    order = Order(_instrument(row, account), cast(Side, side), size, kind, price, client_id=name)
    fees = units(_decimal(row, "fees", "0"))
    value = times(average, filled)
    return ImportOrder(account, order, _time(row), state, filled, value, fees, source)


def _position(row: Mapping[str, Any], source: str, account: str) -> ImportPosition:
    size = units(_decimal(row, "size"))
    if str(_value(row, "side", "")).lower() in ("short", "sell"):
        size = -abs(size)
    entry = units(_decimal(row, "entry"))
    return ImportPosition(
        account,
        _instrument(row, account),
        size,
        times(entry, size),
        units(_decimal(row, "realised", "0")),
        units(_decimal(row, "fees", "0")),
        units(_decimal(row, "mark", _value(row, "entry"))),
        _time(row),
        f"import {_value(row, 'id', _value(row, 'ticker'))}",
        source,
    )


def _snapshot(row: Mapping[str, Any], source: str, account: str, change: int) -> Cash:
    at = _time(row)
    total = f"total {_decimal(row, 'total', '0'):f}"
    return Cash(account, change, at, f"import {at}", reason=total, source=source)


def _instrument(row: Mapping[str, Any], account: str) -> Instrument:
    exchange = str(_value(row, "exchange", "") or account)
    return Instrument(str(_value(row, "ticker")).upper(), exchange, "spot")


def _kind(word: str) -> Kind:
    word = word.lower()
    if "stop" in word:
        return "stop"
    return "market" if word == "market" else "limit"


def _value(row: Mapping[str, Any], name: str, default: Any = None) -> Any:
    for each in NAMES.get(name, (name,)):
        if row.get(each) is not None:
            return row[each]
    if default is None:
        fault = f"has no {name}"
        remedy = f"name its column {' or '.join(NAMES.get(name, (name,)))}"
        raise BadInput("row of the earlier database", fault, remedy)
    return default


def _decimal(row: Mapping[str, Any], name: str, default: Any = None) -> Decimal:
    found = _value(row, name, default)
    if isinstance(found, float):
        found = repr(found)
    return Decimal(found)


def _time(row: Mapping[str, Any]) -> int:
    found = _value(row, "time")
    if not isinstance(found, datetime):
        raise BadInput("row of the earlier database", f"has the time {found}", "use timestamptz")
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return int(aware.timestamp()) * 1_000_000 + aware.microsecond

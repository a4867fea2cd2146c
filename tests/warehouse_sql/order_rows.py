"""Rows of the orders' ledger for the library of statements, made by the ledger's own code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from feature_repo.ledger.chain import GENESIS
from feature_repo.ledger.commands import Cash, Change, Place
from feature_repo.ledger.event_rows import CHAINS, ORDERS, POSITIONS, Event
from feature_repo.ledger.known import Batch, Head, Known
from feature_repo.trading.market import Instrument
from feature_repo.trading.money import units
from feature_repo.trading.order import Order
from lake.clock import utc_from_us
from lake.contracts.contract import LEDGER_DATASETS, load

DAY = datetime(2026, 3, 10, tzinfo=UTC)
A = Instrument("X:AUSD", "sim", "spot")


def us(hours: float) -> int:
    """Return hours after the day's start, in microseconds."""
    return int((DAY + timedelta(hours=hours)).timestamp()) * 1_000_000


def order_rows() -> dict[str, list[dict[str, Any]]]:
    """Return two orders of the desk: one filled in two parts, one cancelled; and two days of it."""
    buy = Order(A, "buy", units("3"), "limit", units("100"), client_id="buy-1")
    sell = Order(A, "sell", units("1"), "limit", units("130"), client_id="sell-1")
    commands = [
        Cash("desk", units("1000"), us(11), "in"),
        Place("desk", buy, us(12), {"model": "trees/7"}),
        Change("desk", "buy-1", "accepted", "ok", us(12.1)),
        _fill("buy-1", "1", "100", "f1", 12.2),
        _fill("buy-1", "2", "99.5", "f2", 13),
        Place("desk", sell, us(14)),
        Change("desk", "sell-1", "cancelled", "no", us(30)),
    ]
    heads = {chain: Head(0, GENESIS, 0) for chain in CHAINS}
    known = Known()
    events: dict[str, list[Event]] = {ORDERS: [], POSITIONS: []}
    for command in commands:
        batch = Batch(known, heads, command.event_time_us)
        assert batch.take(command).is_new
        for chain in CHAINS:
            events[chain] += batch.events[chain]
    made = {chain: [_row(chain, each) for each in events[chain]] for chain in CHAINS}
    made |= {name: [] for name in LEDGER_DATASETS if name not in CHAINS}
    made["fills"] = [
        {
            **{name: row.get(name) for name in load("fills").names},
            "event_id": row["id"],
            "fill_id": row["command_id"],
            "value": row["price"] * row["size"],
        }
        for row in made[ORDERS]
        if row["event_type"] in ("partially_filled", "filled")
    ]
    made["portfolio_snapshots"] = [
        _snapshot(1, 11.5, "1000", "0", "0", "0"),
        _snapshot(2, 12.5, "899.9", "100", "0", "0.1"),
        _snapshot(3, 23, "700.8", "310", "11", "0.2"),
        _snapshot(4, 36, "700.8", "330", "31", "0.2"),
    ]
    return made


def _fill(order: str, size: str, price: str, fill_id: str, hours: float) -> Change:
    amounts = (units(price), units(size), units("0.1"))
    return Change("desk", order, "filled", fill_id, us(hours), *amounts, "taker")


def _row(chain: str, event: Event) -> dict[str, Any]:
    row: dict[str, Any] = {"hash": "of a test"}
    columns = [column for column in load(chain).columns if column.name != "hash"]
    for column, field in zip(columns, event.fields(), strict=True):
        value: Any = field
        if column.type == "time":
            value = utc_from_us(int(str(field)))
        elif column.type == "decimal":
            value = Decimal(str(field)) if field != "" else None
        row[column.name] = value
    return row


def _snapshot(
    number: int, hours: float, cash: str, value: str, unrealised: str, fees: str
) -> dict[str, Any]:
    worth, gained = Decimal(value), Decimal(unrealised)
    return {
        "row_no": number,
        "snapshot_time": DAY + timedelta(hours=hours),
        "account": "desk",
        "cash": Decimal(cash),
        "positions": 1 if worth else 0,
        "cost": worth - gained,
        "value": worth,
        "equity": Decimal(cash) + worth,
        "unrealised": gained,
        "realised": Decimal(0),
        "fees": Decimal(fees),
    }

"""From the ledger to what a desk must know to go on: money, positions, orders that work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from feature_repo.ledger.event_rows import cash_of, opened_with, read_orders
from feature_repo.ledger.order_event import OrderEvent
from feature_repo.ledger.order_state import LEGAL, OrderState, folded
from feature_repo.ledger.projection import project
from feature_repo.trading.account import Account
from feature_repo.trading.limits import DAY_US
from feature_repo.trading.market import Instrument
from feature_repo.trading.money import units
from feature_repo.trading.order import Order
from lake.clock import Clock, utc_from_us
from lake.errors import Unavailable
from serving.risk.refusals import is_refusal

CONNECT_S_MAX = 2
WORKING_MAX = 100_000
NEWEST_MAX = 10_000
"""Orders of all accounts among which those of the last moments are looked for."""

WORKS = tuple(sorted(state for state, allowed in LEGAL.items() if allowed))


@dataclass(frozen=True, slots=True)
class Stood:
    """An account as the ledger has it. orders: those that work; sent: (when, order), newest last.

    began: equity with which the UTC day began.
    """

    account: Account
    orders: Sequence[OrderState]
    sent: list[tuple[int, Order]]
    began: int


def stood(dsn: str, account: str, clock: Clock, since_us: int) -> Stood:
    """Return how an account stands; sent: orders since a time. Raises Unavailable."""
    try:
        project(dsn, clock)
        with psycopg.connect(dsn, connect_timeout=CONNECT_S_MAX) as connection:
            orders = _orders(connection, account)
            sent = _sent(connection, account, since_us)
            money = _money(connection, account)
            for each in orders:
                order = order_of(each)
                left = each.size - each.filled
                signed = left if order.side == "buy" else -left
                working = money.working
                working[order.instrument] = working.get(order.instrument, 0) + signed
            began = _began(connection, account, clock.now_us())
            began = opened_with(connection, account) if began is None else began
    except psycopg.Error as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise Unavailable("ledger", said, "see: ticklake status") from error
    return Stood(money, orders, sent, money.equity() if began is None else began)


def order_of(state: OrderState) -> Order:
    """Return an order as it is now: amended, but of its whole size."""
    return _order(state.first, state.price, state.size)


def asked_for(first: OrderEvent) -> Order:
    """Return an order as it was asked for."""
    assert first.size is not None
    return _order(first, first.price, first.size)


def _order(first: OrderEvent, price: int | None, size: int) -> Order:
    said = json.loads(first.data)
    flags = bool(said["ioc"]), bool(said["post_only"])
    kind, name = first.kind, first.client_order_id
    return Order(first.instrument, first.side, size, kind, price, *flags, name)


def _orders(connection: psycopg.Connection, account: str) -> list[OrderState]:
    query = """
        SELECT order_id FROM market.orders WHERE account = %s AND current_state = ANY(%s)
        ORDER BY event_id LIMIT %s
        """
    found = connection.execute(query, (account, list(WORKS), WORKING_MAX)).fetchall()
    return list(folded(read_orders(connection, [order_id for (order_id,) in found])).values())


def _sent(connection: psycopg.Connection, account: str, since_us: int) -> list[tuple[int, Order]]:
    """Return the orders that passed since a time, in their order."""
    query = """
        SELECT order_id FROM (
            SELECT order_id, account, created_time FROM market.orders
            ORDER BY event_id DESC LIMIT %s) AS newest
        WHERE account = %s AND created_time >= %s
        """
    found = connection.execute(query, (NEWEST_MAX, account, utc_from_us(since_us))).fetchall()
    orders = folded(read_orders(connection, [order_id for (order_id,) in found])).values()
    passed = [each for each in orders if not any(map(is_refusal, each.commands.values()))]
    return [(each.first.event_time_us, asked_for(each.first)) for each in passed]


def _money(connection: psycopg.Connection, account: str) -> Account:
    found = Account(cash_of(connection, [account])[account])
    query = """
        SELECT ticker, exchange, market, size::text, cost::text, price::text, realised::text,
            fees::text
        FROM market.positions WHERE account = %s
        """
    for *names, size, cost, price, realised, fees in connection.execute(query, (account,)):
        instrument = Instrument(*names)
        found.realised += units(realised)
        found.fees += units(fees)
        if price is not None:
            found.marks[instrument] = units(price)
        if units(size):
            found.positions[instrument] = units(size)
            found.costs[instrument] = units(cost)
    return found


def _began(connection: psycopg.Connection, account: str, now_us: int) -> int | None:
    """Return the equity of the last snapshot at or before this UTC day's begin."""
    query = """
        SELECT equity::text FROM market.portfolio_snapshots
        WHERE account = %s AND snapshot_time <= %s ORDER BY snapshot_time DESC LIMIT 1
        """
    day = utc_from_us(now_us // DAY_US * DAY_US)
    row = connection.execute(query, (account, day)).fetchone()
    return None if row is None else units(row[0])

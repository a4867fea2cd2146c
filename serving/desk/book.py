"""Orders, positions and money of every account, as the ledger has them, with prices of now.

Reads bring the tables up to the last event first, so whoever placed an order reads it.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row

from feature_repo.ledger.commands import order_id
from feature_repo.ledger.event_rows import ORDERS as ORDER_EVENTS
from feature_repo.ledger.event_rows import POSITIONS as POSITION_EVENTS
from feature_repo.ledger.event_rows import cash_of, newest_events, read_orders
from feature_repo.ledger.order_state import OrderState, folded
from feature_repo.ledger.projection import project_over
from feature_repo.trading.market import Instrument
from feature_repo.trading.money import times, units
from lake.clock import Clock
from lake.database import BY_RANGE, with_options
from lake.errors import Unavailable
from serving.desk.market import Market
from serving.desk.rows import event_row, order_row, text
from serving.desk.said import Row
from serving.risk.refusals import COMMAND, breaches_of, is_refusal

T = TypeVar("T")
Connection = psycopg.Connection[Any]

CONNECT_S_MAX = 2
STATEMENT_MS_MAX = 5_000
ACCOUNTS_MAX = 1_000
POSITIONS_MAX = 10_000
BREACHES_MAX = 1_000
LOOKED_BACK_MAX = 50_000
"""Events in which a service that starts looks for refusals; the newest."""

ORDERS_TABLE = "orders"
AMOUNTS = ("price", "size", "filled_size", "filled_value", "fees")
ORDERS = """
    SELECT order_id, account, client_order_id, ticker, exchange, market, side, kind, price::text,
        size::text, filled_size::text, filled_value::text, fees::text, current_state,
        sequence_number, (extract(epoch FROM created_time) * 1000000)::bigint AS created_us,
        (extract(epoch FROM updated_time) * 1000000)::bigint AS updated_us
    FROM market.orders
    """
POSITIONS = """
    SELECT account, ticker, exchange, market, size::text, cost::text, price::text, realised::text,
        fees::text
    FROM market.positions
    """
REFUSED = """
    SELECT DISTINCT order_id FROM market.order_events
    WHERE id > %(after)s AND id <= %(upto)s AND event_type = 'rejected' AND command_id = %(id)s
    """
ACCOUNTS = """
    WITH RECURSIVE known (account) AS (
        (SELECT min(account) FROM market.{0})
        UNION ALL
        SELECT (SELECT min(e.account) FROM market.{0} AS e WHERE e.account > known.account)
        FROM known WHERE known.account IS NOT NULL)
    SELECT account FROM known WHERE account IS NOT NULL LIMIT %s
    """


class LedgerBook:
    """An OrderBook; any thread may use it, one query goes at a time."""

    def __init__(self, dsn: str, clock: Clock, market: Market) -> None:
        self._dsn = dsn
        self._clock = clock
        self._market = market
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._breaches: deque[dict[str, Any]] = deque(maxlen=BREACHES_MAX)
        self._read_upto = 0

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._forget()

    def orders(self, account: str, limit: int) -> Sequence[Row]:
        """Return orders as they stand, newest first; account "": of all."""
        where = "WHERE account = %(account)s" if account else ""
        query = f"{ORDERS} {where} ORDER BY event_id DESC LIMIT %(limit)s"
        rows = self._asked(lambda c: _rows(c, query, {"account": account, "limit": limit}))
        return [
            {name: _amount(each) if name in AMOUNTS else each for name, each in row.items()}
            for row in rows
        ]

    def order(self, order: str) -> Row | None:
        """Return an order by its id or its client order id."""
        state = self._asked(lambda c: _named(c, order))
        return None if state is None else order_row(state)

    def events(self, order: str, limit: int) -> Sequence[Row]:
        """Return an order's events in their sequence; of order "": the newest of all, reversed."""
        if not order:
            return [event_row(each) for each in self._asked(lambda c: newest_events(c, limit))]
        state = self._asked(lambda c: _named(c, order))
        return [event_row(each) for each in state.commands.values()][:limit] if state else []

    def positions(self, account: str) -> Sequence[Row]:
        """Return what is held, with its value at the newest price."""
        return [row for row in self._positions(account) if units(row["size"])]

    def pnl(self, account: str) -> Sequence[Row]:
        """Return cash, value, realised and unrealised by account."""
        held = self._positions(account)
        cash = self._asked(lambda c: cash_of(c, [account] if account else _accounts(c)))
        found = []
        for name, money in sorted(cash.items()):
            rows = [row for row in held if row["account"] == name]
            names = ("value", "unrealised", "realised", "fees")
            sums = {each: sum(units(row[each]) for row in rows) for each in names}
            amounts = {"cash": money, "equity": money + sums["value"], **sums}
            found.append({"account": name, **{each: text(sum_) for each, sum_ in amounts.items()}})
        return found

    def breaches(self, limit: int) -> Sequence[Row]:
        """Return orders that a limit refused, newest first: rule, reason, measured, limit."""
        return self._asked(self._refused)[:limit]

    def state(self, order: str) -> OrderState | None:
        """Return the order of an id, folded from its events."""
        return self._asked(lambda c: folded(read_orders(c, [order])).get(order), fresh=False)

    def held(self) -> list[tuple[str, Instrument]]:
        """Return (account, instrument) of everything that is held."""
        rows = self._asked(
            lambda c: _rows(c, f"{POSITIONS} WHERE size <> 0 LIMIT {POSITIONS_MAX}", {})
        )
        return [(row["account"], _instrument(row)) for row in rows]

    def _positions(self, account: str) -> list[dict[str, Any]]:
        where = "WHERE account = %(account)s" if account else ""
        query = f"{POSITIONS} {where} ORDER BY account, ticker LIMIT {POSITIONS_MAX}"
        rows = self._asked(lambda c: _rows(c, query, {"account": account}))
        return [self._valued(row) for row in rows]

    def _valued(self, row: dict[str, Any]) -> dict[str, Any]:
        told = self._market.told(_instrument(row))
        price = units(row["price"]) if row["price"] is not None else None
        if told is not None and told.trade is not None:
            price = told.trade.price
        size, cost = units(row["size"]), units(row["cost"])
        value = 0 if price is None else times(price, size)
        amounts = {
            "size": size,
            "cost": cost,
            "value": value,
            "unrealised": 0 if price is None else value - cost,
            **{name: units(row[name]) for name in ("realised", "fees")},
        }
        said = {name: text(each) for name, each in amounts.items()}
        return {**row, **said, "price": None if price is None else text(price)}

    def _refused(self, connection: Connection) -> list[dict[str, Any]]:
        """Take what is new among the events; return all refusals that are kept."""
        query = "SELECT last_id FROM market.ledger_heads WHERE ledger = %s"
        (upto,) = connection.execute(query, (ORDER_EVENTS,)).fetchone() or (0,)
        after = max(upto - LOOKED_BACK_MAX, self._read_upto)
        found = connection.execute(REFUSED, {"after": after, "upto": upto, "id": COMMAND})
        events = read_orders(connection, [order for (order,) in found.fetchall()])
        for event in events:
            if is_refusal(event):
                self._breaches.extendleft(reversed(breaches_of(event)))
        self._read_upto = upto
        return list(self._breaches)

    def _asked(self, ask: Callable[[Connection], T], *, fresh: bool = True) -> T:
        """Ask the database, over a connection that is made again once where it has ended."""
        with self._lock:
            for is_last in (False, True):
                was_there = self._connection is not None
                try:
                    connection = self._connected()
                    if fresh:
                        self._bring_up(connection)
                    return ask(connection)
                except psycopg.Error as error:
                    self._forget()
                    if is_last or not was_there:
                        said = (str(error).splitlines() or [type(error).__name__])[0]
                        raise Unavailable("ledger", said, "see: ticklake status") from error
        raise AssertionError("the second turn is the last")

    def _bring_up(self, connection: Connection) -> None:
        """Make the tables of the events that came since."""
        query = "SELECT coalesce(bool_or(last_id > projected_id), false) FROM market.ledger_heads"
        if (connection.execute(query).fetchone() or (False,))[0]:
            project_over(connection, self._clock)

    def _connected(self) -> Connection:
        if self._connection is None:
            dsn = with_options(self._dsn, statement_timeout=STATEMENT_MS_MAX, **BY_RANGE)
            self._connection = psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_S_MAX)
        return self._connection

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _named(connection: Connection, order: str) -> OrderState | None:
    """Return the order of an id or a client order id, of the first account that has it."""
    ids = [order_id(account, order) for account in _accounts(connection, ORDERS_TABLE)]
    with suppress(ValueError):
        ids.append(str(uuid.UUID(order)))
    found = folded(read_orders(connection, ids))
    return next((found[each] for each in ids if each in found), None)


def _accounts(connection: Connection, table: str = POSITION_EVENTS) -> list[str]:
    """Return the accounts of a table, by its index alone."""
    rows = connection.execute(ACCOUNTS.format(table).encode(), (ACCOUNTS_MAX,)).fetchall()
    return [account for (account,) in rows]


def _rows(connection: Connection, query: str, given: dict[str, object]) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode(), given).fetchall()


def _instrument(row: Row) -> Instrument:
    return Instrument(row["ticker"], row["exchange"], row["market"])


def _amount(each: str | None) -> str | None:
    return None if each is None else text(units(each))

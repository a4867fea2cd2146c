"""Orders on paper for as long as a service runs: risk, kill switch and broker, kept in memory.

It stands where an order ledger is to stand, with its words and columns, and forgets with the
process: an order here is practice, and says so by its account.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from feature_repo.trading.account import Account
from feature_repo.trading.costs import Costs
from feature_repo.trading.market import Instrument, Quote, Trade
from feature_repo.trading.money import decimal_of, times, units
from feature_repo.trading.order import Ended, Fill, Order
from lake.clock import Clock
from lake.errors import Refused, WrongUse
from serving.broker.broker import Accepted, BrokerReport
from serving.broker.paper_broker import PaperBroker
from serving.risk.limits import Asked, Price, RiskDesk, RiskLimits
from serving.service.board import Board
from serving.service.parts import Stop
from serving.service.ports import Placed, RiskRefused, Row

ACCOUNT = "paper"
CASH = 100_000 * 10**10
COSTS = Costs(maker=0, taker=1_000, latency_us=5_000)
"""10 basis points of who takes, and 5 ms to the venue."""

ORDERS_MAX = 10_000
EVENTS_MAX = 50_000
BREACHES_MAX = 1_000
TURN_S = 0.05


@dataclass
class _Known:
    row: dict[str, Any]
    order: Order
    filled: int = 0
    value: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)


class PaperDesk:
    """An OrderDesk and an OrderBook; any thread may use it, run() has one of its own."""

    def __init__(self, board: Board, stop: Stop, clock: Clock, limits: RiskLimits) -> None:
        self._board = board
        self._stop = stop
        self._clock = clock
        self._lock = threading.RLock()
        self._broker = PaperBroker(COSTS)
        self._risk = RiskDesk(limits)
        self._account = Account(CASH)
        self._orders: dict[str, _Known] = {}
        self._events: deque[dict[str, Any]] = deque(maxlen=EVENTS_MAX)
        self._breaches: deque[dict[str, Any]] = deque(maxlen=BREACHES_MAX)
        self._shown: dict[str, tuple[Any, Any]] = {}
        self._event_id = 0
        self.ended = threading.Event()

    def run(self) -> None:
        """Show the broker the market, and book what becomes of orders, until `ended` is set."""
        while not self.ended.wait(TURN_S):
            self.turn()

    def turn(self) -> None:
        """Do it once."""
        with self._lock:
            now_us = self._clock.now_us()
            if self._stop.state()["killed"]:
                self._broker.cancel_all(now_us)
            self._show_market()
            self._broker.settle(now_us)
            for report in self._broker.reports(now_us):
                self._book(report)

    def place(self, account: str, order: Order, by: str) -> Placed:
        """Place an order once; see OrderDesk."""
        _only_ours(account)
        with self._lock:
            known = self._orders.get(order.client_id)
            if known is not None:
                if known.order != order:
                    thing, remedy = f"order {order.client_id}", "another order needs another id"
                    raise Refused(thing, "is another order", remedy)
                return Placed(dict(known.row), False)
            if self._stop.state()["killed"]:
                raise Refused("trading", "is stopped", "an admin lets it go on")
            if len(self._orders) >= ORDERS_MAX:
                raise Refused(f"{ORDERS_MAX} orders", "are enough on paper", "begin anew")
            now_us = self._clock.now_us()
            self._refuse_risk(order, now_us)
            known = _Known(_row(order, now_us), order)
            self._orders[order.client_id] = known
            self._note(known, "created", now_us, price=order.price, size=order.size, by=by)
            self._work(order, order.signed)
            self._broker.place(order, now_us)
            return Placed(dict(known.row), True)

    def cancel(self, account: str, client_order_id: str, by: str) -> Row:
        """Ask for the end of an order; see OrderDesk."""
        _only_ours(account)
        with self._lock:
            known = self._orders.get(client_order_id)
            if known is None:
                raise WrongUse(f"order {client_order_id}", "is not there", "see /v1/orders")
            if client_order_id not in self._broker.working():
                fault = f"is {known.row['current_state']}"
                raise Refused(f"order {client_order_id}", fault, "nothing is left to cancel")
            self._broker.cancel(client_order_id, self._clock.now_us())
            return dict(known.row)

    def cancel_all(self, by: str) -> int:
        """Ask for the end of every order."""
        with self._lock:
            count = len(self._broker.working())
            self._broker.cancel_all(self._clock.now_us())
            return count

    def orders(self, account: str, limit: int) -> Sequence[Row]:
        """Return orders, newest first."""
        with self._lock:
            rows = [dict(each.row) for each in reversed(self._orders.values())]
        return rows[:limit] if account in ("", ACCOUNT) else []

    def order(self, order: str) -> Row | None:
        """Return one by its id or its client order id."""
        with self._lock:
            known = self._found(order)
            return dict(known.row) if known else None

    def events(self, order: str, limit: int) -> Sequence[Row]:
        """Return an order's events, or the newest of all."""
        with self._lock:
            if not order:
                return [dict(each) for each in list(reversed(self._events))[:limit]]
            known = self._found(order)
            return [dict(each) for each in known.events[:limit]] if known else []

    def positions(self, account: str) -> Sequence[Row]:
        """Return what is held, with its value at the last price."""
        if account not in ("", ACCOUNT):
            return []
        with self._lock:
            held = self._account
            rows = []
            for instrument, size in held.positions.items():
                price = self._price(instrument)
                worth = times(price.value if price else held.marks[instrument], size)
                cost = held.costs[instrument]
                amounts = {"size": size, "cost": cost, "value": worth, "unrealised": worth - cost}
                mark = price.value if price else held.marks[instrument]
                said = {name: _text(each) for name, each in {**amounts, "price": mark}.items()}
                rows.append({"account": ACCOUNT, **instrument._asdict(), **said})
            return rows

    def pnl(self, account: str) -> Sequence[Row]:
        """Return the account's money."""
        rows = self.positions(account)
        if account not in ("", ACCOUNT):
            return []
        with self._lock:
            held = self._account
            value = sum(units(row["value"]) for row in rows)
            amounts = {
                "cash": held.cash,
                "value": value,
                "equity": held.cash + value,
                "unrealised": sum(units(row["unrealised"]) for row in rows),
                "realised": held.realised,
                "fees": held.fees,
            }
            return [{"account": ACCOUNT, **{name: _text(each) for name, each in amounts.items()}}]

    def breaches(self, limit: int) -> Sequence[Row]:
        """Return what limits refused, newest first."""
        with self._lock:
            return [dict(each) for each in list(reversed(self._breaches))[:limit]]

    def _found(self, order: str) -> _Known | None:
        by_id = (each for each in self._orders.values() if each.row["order_id"] == order)
        return self._orders.get(order) or next(by_id, None)

    def _refuse_risk(self, order: Order, now_us: int) -> None:
        price = self._price(order.instrument)
        if price is not None:
            self._account.marks[order.instrument] = price.value
        self._risk.at(now_us, self._account)
        found = self._risk.breaches(Asked(order, self._account, price, now_us))
        if not found:
            return
        names = {"client_order_id": order.client_id, **order.instrument._asdict()}
        rows = [{"t": now_us, "account": ACCOUNT, **names, **each._asdict()} for each in found]
        self._breaches.extend(rows)
        raise RiskRefused(rows)

    def _show_market(self) -> None:
        """Show the broker what is new of instruments in which an order works."""
        for client_id in self._broker.working():
            instrument = self._orders[client_id].order.instrument
            for row in self._board.prices(instrument.ticker):
                if (row["exchange"], row["market"]) != instrument[1:]:
                    continue
                seen = self._shown.get(row["id"], (None, None))
                if row["bid_price"] and row["qt"] != seen[0]:
                    names = ("bid_price", "bid_size", "ask_price", "ask_size")
                    amounts = [units(row[name]) for name in names]
                    self._broker.on_quote(Quote(instrument, row["qt"], row["qt"], *amounts))
                if row["price"] and row["t"] != seen[1]:
                    amounts = [units(row["price"]), units(row["size"])]
                    self._broker.on_trade(Trade(instrument, row["t"], row["t"], *amounts))
                self._shown[row["id"]] = (row["qt"], row["t"])

    def _price(self, instrument: Instrument) -> Price | None:
        for row in self._board.prices(instrument.ticker):
            if (row["exchange"], row["market"]) == instrument[1:] and row["price"]:
                return Price(units(row["price"]), row["t"])
        return None

    def _book(self, report: BrokerReport) -> None:
        known = self._orders[report.client_id]
        at_us = max(report.time_us, known.row["updated_us"])
        if isinstance(report, Accepted):
            self._note(known, "accepted", at_us)
        elif isinstance(report, Fill):
            self._account.apply(report)
            self._work(known.order, -report.signed)
            known.filled += report.size
            known.value += times(report.price, report.size)
            known.row["filled_size"] = _text(known.filled)
            known.row["filled_value"] = _text(known.value)
            known.row["fees"] = _text(units(known.row["fees"]) + report.fee)
            kind = "filled" if known.filled == known.order.size else "partially_filled"
            more = {"price": report.price, "size": report.size, "fee": report.fee}
            self._note(known, kind, at_us, **more, liquidity="maker" if report.maker else "taker")
        else:
            assert isinstance(report, Ended)
            left = known.order.size - known.filled
            self._work(known.order, -left if known.order.side == "buy" else left)
            self._note(known, report.state, at_us, reason=report.reason)

    def _work(self, order: Order, signed: int) -> None:
        working = self._account.working
        working[order.instrument] = working.get(order.instrument, 0) + signed

    def _note(self, known: _Known, kind: str, at_us: int, **said: Any) -> None:
        self._event_id += 1
        row = known.row
        names = ("order_id", "account", "client_order_id", "ticker", "exchange", "market", "side")
        amounts = {
            name: _text(value) if isinstance(value, int) else value for name, value in said.items()
        }
        event = {
            "id": self._event_id,
            "sequence_number": len(known.events) + 1,
            "event_type": kind,
            "t": at_us,
            **{name: row[name] for name in names},
            **amounts,
        }
        row.update(current_state=kind, updated_us=at_us, sequence_number=len(known.events) + 1)
        known.events.append(event)
        self._events.append(event)


def _row(order: Order, now_us: int) -> dict[str, Any]:
    return {
        "order_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{ACCOUNT}\n{order.client_id}")),
        "account": ACCOUNT,
        "client_order_id": order.client_id,
        **order.instrument._asdict(),
        "side": order.side,
        "kind": order.kind,
        "price": None if order.price is None else _text(order.price),
        "size": _text(order.size),
        "filled_size": "0",
        "filled_value": "0",
        "fees": "0",
        "current_state": "created",
        "sequence_number": 0,
        "created_us": now_us,
        "updated_us": now_us,
    }


def _text(amount: int) -> str:
    return f"{decimal_of(amount).normalize():f}"


def _only_ours(account: str) -> None:
    if account != ACCOUNT:
        raise WrongUse(f"account {account}", "is not here", f"orders on paper are {ACCOUNT}'s")

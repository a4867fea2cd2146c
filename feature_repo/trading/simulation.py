"""The event loop of a backtest: match, mark, let the strategy act; one event after another.

A strategy sees an event when it was known, not when it happened, and its orders reach the market
later still; so it can't see what it trades on. The loop is Python's, an event at a time, because
a strategy is: what can be said of a whole series at once goes through feature_repo.trading.sweep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from feature_repo.trading.account import Account
from feature_repo.trading.costs import Costs
from feature_repo.trading.limits import Guard, Limits
from feature_repo.trading.market import Bar, Event, Funding, Instrument, Quote, Trade
from feature_repo.trading.matching import Matcher
from feature_repo.trading.order import Action, Cancel, Fill, Order, Report, State
from feature_repo.trading.strategy import Strategy
from lake.errors import BadInput, WrongUse

ORDERS_MAX = 1_000_000
"""Orders of one run: a strategy that sends more is out of hand."""

By = Literal["bars", "quotes"]


@dataclass(slots=True)
class Placed:
    """An order and what became of it."""

    order: Order
    placed_us: int
    state: State = "accepted"
    filled: int = 0
    reason: str = ""


@dataclass(slots=True)
class Booked:
    """A fill and what it realised, without its fee."""

    fill: Fill
    realised: int


@dataclass(slots=True)
class Record:
    """Everything that happened. moments: (time, cash, equity); paid: (funding, amount)."""

    orders: list[Placed] = field(default_factory=list)
    fills: list[Booked] = field(default_factory=list)
    moments: list[tuple[int, int, int]] = field(default_factory=list)
    paid: list[tuple[Funding, int]] = field(default_factory=list)


class Simulation:
    """Runs one strategy over events in the order of their available_us.

    by: what orders meet, bars or quotes and trades; the strategy sees all events either way.
    sample_us: the equity is recorded once in so many microseconds; 1: whenever time moves on.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        cash: int,
        costs: Costs | None = None,
        limits: Limits | None = None,
        by: By = "bars",
        sample_us: int = 1,
    ) -> None:
        self.account = Account(cash)
        self.record = Record()
        self._strategy = strategy
        self._costs = costs or Costs()
        self._guard = Guard(limits or Limits())
        self._is_limited = self._guard.limits.any
        self._by_bars = by == "bars"
        self._sample_us = sample_us
        self._matchers: dict[Instrument, Matcher] = {}
        self._placed: dict[str, Placed] = {}
        self._at = -1
        self._bucket = -1

    def run(self, events: Iterable[Event]) -> Record:
        """Take all events; return what happened."""
        feed = self.feed
        for event in events:
            feed(event)
        return self.finish()

    def feed(self, event: Event) -> None:
        """Take one event; BadInput where it was known before the one that came last."""
        now_us = event.available_us
        if now_us != self._at:
            self._move_to(now_us)
        if isinstance(event, Bar):
            self._take_bar(event)
        elif isinstance(event, Quote):
            self._take_quote(event)
        elif isinstance(event, Trade):
            self._take_trade(event)
        elif isinstance(event, Funding):
            paid = self.account.pay(event)
            if paid:
                self.record.paid.append((event, paid))
        actions = self._strategy.on_event(event, self.account)
        if actions:
            self._act(actions, now_us)

    def finish(self) -> Record:
        """Record the last moment; return what happened."""
        if self._at >= 0:
            self._sample()
            self._bucket = -1
        return self.record

    def _move_to(self, now_us: int) -> None:
        if now_us < self._at:
            raise BadInput(
                f"event at {now_us}", f"was known before the last, {self._at}", "sort the events"
            )
        bucket = now_us // self._sample_us
        if bucket != self._bucket:
            if self._bucket >= 0:
                self._sample()
            self._bucket = bucket
        self._at = now_us
        if self._is_limited:
            self._guard.at(now_us, self.account)

    def _sample(self) -> None:
        account = self.account
        equity = account.equity() if account.positions else account.cash
        self.record.moments.append((self._at, account.cash, equity))

    def _take_bar(self, bar: Bar) -> None:
        if not self._by_bars:
            return
        matcher = self._matchers.get(bar.instrument)
        if matcher is not None and matcher.working:
            self._book(matcher.on_bar(bar))
        self.account.marks[bar.instrument] = bar.close

    def _take_quote(self, quote: Quote) -> None:
        if self._by_bars:
            return
        self._book(self._matcher(quote.instrument).on_quote(quote))
        self.account.marks[quote.instrument] = (quote.bid + quote.ask) // 2

    def _take_trade(self, trade: Trade) -> None:
        if self._by_bars:
            return
        matcher = self._matcher(trade.instrument)
        if matcher.working:
            self._book(matcher.on_trade(trade))
        self.account.marks.setdefault(trade.instrument, trade.price)

    def _matcher(self, instrument: Instrument) -> Matcher:
        found = self._matchers.get(instrument)
        if found is None:
            found = self._matchers[instrument] = Matcher(self._costs)
        return found

    def _book(self, reports: Sequence[Report]) -> None:
        account = self.account
        for report in reports:
            placed = self._placed[report.client_id]
            working = account.working
            if isinstance(report, Fill):
                realised = account.apply(report)
                self.record.fills.append(Booked(report, realised))
                placed.filled += report.size
                done = placed.filled == placed.order.size
                placed.state = "filled" if done else "partially_filled"
                working[report.instrument] -= report.signed
            else:
                placed.state, placed.reason = report.state, report.reason
                left = placed.order.size - placed.filled
                working[report.instrument] -= left if placed.order.side == "buy" else -left

    def _act(self, actions: Sequence[Action], now_us: int) -> None:
        for action in actions:
            if isinstance(action, Cancel):
                self._matcher(action.instrument).cancel(action.client_id, now_us)
                continue
            order = self._named(action)
            placed = Placed(order, now_us)
            self._placed[order.client_id] = placed
            self.record.orders.append(placed)
            refusal = self._guard.refusal(order, self.account) if self._is_limited else ""
            if refusal:
                placed.state, placed.reason = "rejected", refusal
                continue
            working = self.account.working
            working[order.instrument] = working.get(order.instrument, 0) + order.signed
            self._matcher(order.instrument).place(order, now_us)

    def _named(self, order: Order) -> Order:
        number = len(self.record.orders) + 1
        if number > ORDERS_MAX:
            fault = f"sent more than {ORDERS_MAX:,} orders"
            raise WrongUse(f"strategy {self._strategy.name}", fault, "let it trade less often")
        if not order.client_id:
            name = f"{self._strategy.name}-{number}"
            return Order(
                order.instrument,
                order.side,
                order.size,
                order.kind,
                order.price,
                order.ioc,
                order.post_only,
                name,
            )
        if order.client_id in self._placed:
            raise WrongUse(f"order {order.client_id}", "is there already", "give each its own id")
        return order

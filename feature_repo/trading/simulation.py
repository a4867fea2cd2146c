"""The event loop of a backtest: match, mark, let the strategy act; one event after another.

A strategy sees an event when it was known, not when it happened, and its orders reach the market
later still; so it can't see what it trades on. The loop is Python's, an event at a time, because
a strategy is: what can be said of a whole series at once goes through feature_repo.trading.sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol

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
    arrived: bool = False


@dataclass(frozen=True, slots=True)
class Arrived:
    """An order that works at the venue. What is refused, or taken back on its way, never does."""

    client_id: str
    instrument: Instrument
    time_us: int


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


class Asks(Protocol):
    """What is asked before an order goes out."""

    def at(self, time_us: int, account: Account) -> None:
        """Note the time; called before the first change of each moment."""

    def hears(self, instrument: Instrument, now_us: int) -> bool:
        """Tell whether orders of an instrument are heard at all; if not, they never were."""

    def refusal(self, order: Order, account: Account) -> str:
        """Return why an order may not go out; "" where it may."""

    def holds(self, instrument: Instrument, price: int) -> bool:
        """Tell whether a stop is not to be set off by a best price."""


Hear = Callable[[Placed | Arrived | Report], None]


class Simulation:
    """Runs one strategy over events in the order of their available_us.

    by: what orders meet, bars or quotes and trades; the strategy sees all events either way.
    sample_us: the equity is recorded once in so many microseconds; 1: whenever time moves on.
    guard: asked instead of limits. hear: told of each order, its arrival and what becomes of it,
    as it happens.
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
        guard: Asks | None = None,
        hear: Hear | None = None,
    ) -> None:
        self.account = Account(cash)
        self.record = Record()
        self._strategy = strategy
        self._costs = costs or Costs()
        limited = limits or Limits()
        self._guard: Asks = guard or Guard(limited)
        self._is_limited = guard is not None or limited.any
        self._hear = hear
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

    def stop(self, now_us: int) -> None:
        """Take back all that is out, and say at once what becomes of it.

        As if nothing more came before the cancels are at the venue.
        """
        for matcher in self._matchers.values():
            for each in matcher.working:
                matcher.cancel(each.order.client_id, now_us)
            if matcher.working:
                self._book(matcher, matcher.on_time(now_us + self._costs.latency_us))

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
            self._book(matcher, matcher.on_bar(bar))
        self.account.marks[bar.instrument] = bar.close

    def _take_quote(self, quote: Quote) -> None:
        if self._by_bars:
            return
        matcher = self._matcher(quote.instrument)
        self._book(matcher, matcher.on_quote(quote))
        self.account.marks[quote.instrument] = (quote.bid + quote.ask) // 2

    def _take_trade(self, trade: Trade) -> None:
        if self._by_bars:
            return
        matcher = self._matcher(trade.instrument)
        if matcher.working:
            self._book(matcher, matcher.on_trade(trade))
        self.account.marks.setdefault(trade.instrument, trade.price)

    def _matcher(self, instrument: Instrument) -> Matcher:
        found = self._matchers.get(instrument)
        if found is None:
            holds = partial(self._guard.holds, instrument) if self._is_limited else None
            found = self._matchers[instrument] = Matcher(self._costs, holds)
        return found

    def _book(self, matcher: Matcher, reports: Sequence[Report]) -> None:
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
            if self._hear is not None:
                if isinstance(report, Fill) and not placed.arrived:
                    self._arrive(placed, placed.placed_us + self._costs.latency_us)
                self._hear(report)
        if self._hear is not None:
            for each in matcher.working:
                if each.at_venue:
                    self._arrive(self._placed[each.order.client_id], each.arrival_us)

    def _arrive(self, placed: Placed, time_us: int) -> None:
        if not placed.arrived and self._hear is not None:
            placed.arrived = True
            self._hear(Arrived(placed.order.client_id, placed.order.instrument, time_us))

    def _act(self, actions: Sequence[Action], now_us: int) -> None:
        for action in actions:
            if isinstance(action, Cancel):
                self._matcher(action.instrument).cancel(action.client_id, now_us)
                continue
            if self._is_limited and not self._guard.hears(action.instrument, now_us):
                continue
            order = self._named(action)
            placed = Placed(order, now_us)
            self._placed[order.client_id] = placed
            self.record.orders.append(placed)
            refusal = self._guard.refusal(order, self.account) if self._is_limited else ""
            if refusal:
                placed.state, placed.reason = "rejected", refusal
            if self._hear is not None:
                self._hear(placed)
            if refusal:
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

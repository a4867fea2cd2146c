"""A broker of paper: the backtest's own matching, over the live best bid and ask and the trades.

What it does with an order at a quote is what a backtest does with it at that quote, to the last
unit: both are feature_repo.trading.matching, with the same costs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from feature_repo.trading.costs import Costs
from feature_repo.trading.market import Instrument, Quote, Trade
from feature_repo.trading.matching import Matcher, Working
from feature_repo.trading.order import Ended, Fill, Order, Report
from lake.errors import WrongUse
from serving.broker.broker import Accepted, Amended, BrokerReport, Unamended

KNOWN_MAX = 1_000_000
"""Orders whose ids are remembered; the oldest that are done are forgotten first."""


@dataclass(slots=True)
class _Known:
    """order: as it was asked for; size: as it is now; amendments: those that were sent."""

    order: Order
    arrival_us: int
    left: int
    size: int
    amendments: set[str] = field(default_factory=set)
    accepted: bool = False
    done: bool = False


class _Amendment(NamedTuple):
    """On its way to the venue."""

    arrival_us: int
    client_id: str
    name: str
    price: int | None
    size: int | None


class PaperBroker:
    """Fills against the quotes and trades that it is shown; one thread uses it.

    holds: tells of an instrument's best price whether a stop is not to be set off by it.
    """

    def __init__(
        self, costs: Costs, holds: Callable[[Instrument, int], bool] | None = None
    ) -> None:
        self._costs = costs
        self._holds = holds
        self._matchers: dict[Instrument, Matcher] = {}
        self._orders: dict[str, _Known] = {}
        self._arriving: deque[str] = deque()
        self._amending: deque[_Amendment] = deque()
        self._reports: list[BrokerReport] = []

    def place(self, order: Order, now_us: int) -> None:
        """Send an order; it is at the venue after the latency of the costs."""
        if not order.client_id:
            raise WrongUse("order", "has no client id", "give each its own")
        known = self._orders.get(order.client_id)
        if known is not None:
            if known.order != order:
                raise WrongUse(f"order {order.client_id}", "is another", "give each its own id")
            return
        arrival_us = now_us + self._costs.latency_us
        self._orders[order.client_id] = _Known(order, arrival_us, order.size, order.size)
        self._arriving.append(order.client_id)
        self._matcher(order.instrument).place(order, now_us)
        if len(self._orders) > KNOWN_MAX:
            self._forget()

    def cancel(self, client_id: str, now_us: int) -> None:
        """Send a cancel; it is at the venue after the latency, if the order is not done by then."""
        known = self._orders.get(client_id)
        if known is not None and not known.done:
            self._matcher(known.order.instrument).cancel(client_id, now_us)

    def amend(
        self, client_id: str, amendment: str, price: int | None, size: int | None, now_us: int
    ) -> None:
        """Send an amendment; it is at the venue after the latency, if the order is not done then.

        With another price an order stands there as one that has just come.
        """
        known = self._orders.get(client_id)
        if known is None or known.done or amendment in known.amendments:
            return
        known.amendments.add(amendment)
        arrival_us = now_us + self._costs.latency_us
        self._amending.append(_Amendment(arrival_us, client_id, amendment, price, size))

    def cancel_all(self, now_us: int) -> None:
        """Send a cancel for every order that works."""
        for client_id in self.working():
            self.cancel(client_id, now_us)

    def on_quote(self, quote: Quote) -> None:
        """Show the best bid and ask."""
        self._amend(quote.time_us)
        self._take(self._matcher(quote.instrument).on_quote(quote), quote.time_us)

    def on_trade(self, trade: Trade) -> None:
        """Show a trade of others."""
        self._amend(trade.time_us)
        self._take(self._matcher(trade.instrument).on_trade(trade), trade.time_us)

    def settle(self, now_us: int) -> None:
        """Do what is due by a time though no event has come; for the kill switch.

        A live session leaves it be: a backtest finds fills with the next event, and so must it.
        """
        self._amend(now_us)
        for matcher in self._matchers.values():
            if matcher.working:
                self._take(matcher.on_time(now_us), now_us)

    def reports(self, now_us: int) -> Sequence[BrokerReport]:
        """Return what happened since the last call."""
        self._accept(now_us)
        found, self._reports = self._reports, []
        return found

    def working(self) -> Sequence[str]:
        """Return the ids of orders that are not done."""
        return [client_id for client_id, known in self._orders.items() if not known.done]

    def restore(self, orders: Iterable[tuple[Order, int, int, bool]]) -> None:
        """Take back orders of before a restart: (order, placed_us, filled, accepted).

        One that was accepted stands at the venue, and fills as what rests; a stop that had become
        a market order by then waits for its price again.
        """
        for order, placed_us, filled, accepted in orders:
            arrival_us, left = placed_us + self._costs.latency_us, order.size - filled
            self._orders[order.client_id] = _Known(
                order, arrival_us, left, order.size, accepted=accepted
            )
            if not accepted:
                self._arriving.append(order.client_id)
            working = Working(order, arrival_us, left, at_venue=accepted)
            self._matcher(order.instrument).working.append(working)

    def _matcher(self, instrument: Instrument) -> Matcher:
        found = self._matchers.get(instrument)
        if found is None:
            holds = None if self._holds is None else partial(self._holds, instrument)
            found = self._matchers[instrument] = Matcher(self._costs, holds)
        return found

    def _take(self, reports: list[Report], now_us: int) -> None:
        refused = {
            each.client_id
            for each in reports
            if isinstance(each, Ended) and each.state == "rejected"
        }
        for client_id in refused:
            self._orders[client_id].accepted = True  # it never worked: nothing says it did
        self._accept(now_us)
        for report in reports:
            known = self._orders[report.client_id]
            self._accept_one(report.client_id, known)
            if isinstance(report, Fill):
                known.left -= report.size
            known.done = known.left == 0 or isinstance(report, Ended)
            self._reports.append(report)

    def _amend(self, now_us: int) -> None:
        """Do what has reached the venue by a time; the latency is one, so it comes in order."""
        while self._amending and self._amending[0].arrival_us <= now_us:
            wish = self._amending.popleft()
            known = self._orders.get(wish.client_id)
            if known is None or known.done:
                continue
            self._accept_one(wish.client_id, known)
            instrument, at_us = known.order.instrument, wish.arrival_us
            reason = self._amend_one(known, wish)
            if reason:
                report = Unamended(wish.client_id, instrument, at_us, wish.name, reason)
                self._reports.append(report)
                continue
            amounts = wish.price, wish.size
            self._reports.append(Amended(wish.client_id, instrument, at_us, wish.name, *amounts))

    def _amend_one(self, known: _Known, wish: _Amendment) -> str:
        """Amend an order that is not done; return why it stays as it was, "" where it does not."""
        filled = known.size - known.left
        (working,) = (
            each
            for each in self._matcher(known.order.instrument).working
            if each.order.client_id == wish.client_id
        )
        if wish.size is not None and wish.size <= filled:
            return "it was filled by so much meanwhile"
        if wish.price is not None and working.order.kind != known.order.kind:
            return "its price was reached meanwhile"
        if wish.size is not None:
            known.size, known.left = wish.size, wish.size - filled
        if wish.price is not None:
            working.arrival_us, working.at_venue = wish.arrival_us, False
        price = working.order.price if wish.price is None else wish.price
        working.order = replace(working.order, price=price, size=known.size)
        working.left = known.left
        return ""

    def _accept(self, now_us: int) -> None:
        """Say what has reached the venue by a time; the latency is one, so they arrive in order."""
        while self._arriving:
            known = self._orders.get(self._arriving[0])
            if known is not None and known.arrival_us > now_us:
                break
            client_id = self._arriving.popleft()
            if known is not None:
                self._accept_one(client_id, known)

    def _accept_one(self, client_id: str, known: _Known) -> None:
        if known.accepted or known.done:
            return
        known.accepted = True
        self._reports.append(
            Accepted(client_id, known.order.instrument, known.arrival_us, f"paper-{client_id}")
        )

    def _forget(self) -> None:
        done = (client_id for client_id, known in self._orders.items() if known.done)
        for client_id in [each for each, _ in zip(done, range(KNOWN_MAX // 10), strict=False)]:
            del self._orders[client_id]

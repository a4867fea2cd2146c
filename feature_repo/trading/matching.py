"""Orders of one instrument meet the market: the same code in a backtest and in the paper broker.

An order counts from the moment it reaches the venue. Against quotes, it takes what stands at the
best price, up to the size there; what rests is filled at its own price once the other side comes to
it, or a trade goes through it. Against bars, it is filled at the first open at or after it arrives;
what rests is filled at its own price where a bar goes through it (a touch is no fill), a stop at
the worse of stop and open. Within a bar nobody knows what came first: stops are looked at before
limits, all together take no more than the bar's volume times the participation, and what was not
done at the open is said to be done at the bar's end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from feature_repo.trading.costs import Costs
from feature_repo.trading.market import Bar, Quote, Trade
from feature_repo.trading.money import part
from feature_repo.trading.order import Ended, Fill, Order, Report


@dataclass(slots=True)
class Working:
    """An order on its way or at the venue. cancel_us: when its cancel gets there."""

    order: Order
    arrival_us: int
    left: int
    cancel_us: int | None = None
    at_venue: bool = False


class Matcher:
    """Working orders of one instrument. Every method returns what happened, in its order.

    holds: tells of a best price whether a stop is not to be set off by it.
    """

    __slots__ = ("_holds", "_quote", "costs", "working")

    def __init__(self, costs: Costs, holds: Callable[[int], bool] | None = None) -> None:
        self.costs = costs
        self._holds = holds
        self.working: list[Working] = []
        self._quote: Quote | None = None

    def place(self, order: Order, now_us: int) -> None:
        """Send an order now; it is at the venue after the latency."""
        self.working.append(Working(order, now_us + self.costs.latency_us, order.size))

    def cancel(self, client_id: str, now_us: int) -> None:
        """Send a cancel now; nothing where no such order works."""
        for each in self.working:
            if each.order.client_id == client_id and each.cancel_us is None:
                each.cancel_us = now_us + self.costs.latency_us

    def on_bar(self, bar: Bar) -> list[Report]:
        """Match against a bar."""
        reports: list[Report] = []
        left = part(bar.volume, self.costs.participation)
        for each in self._in_turn(bar.start_us, reports):
            done = self._against_bar(each, bar, left, reports)
            left -= done
        return self._kept(reports)

    def on_quote(self, quote: Quote) -> list[Report]:
        """Match what arrived meanwhile against the quote before, then all against this one."""
        reports: list[Report] = []
        if self.working and self._quote is not None:
            self._against_quote(quote.time_us - 1, reports)
        self._quote = quote
        if self.working:
            self._against_quote(quote.time_us, reports)
        return self._kept(reports)

    def on_trade(self, trade: Trade) -> list[Report]:
        """Match what arrived meanwhile against the quote, then what rests against the trade."""
        reports: list[Report] = []
        if self.working and self._quote is not None:
            self._against_quote(trade.time_us, reports)
        left = trade.size
        for each in self._in_turn(trade.time_us, reports):
            order = each.order
            if not (each.at_venue and left and order.kind == "limit"):
                continue
            assert order.price is not None
            if trade.price < order.price if order.side == "buy" else trade.price > order.price:
                left -= self._fill(each, trade.time_us, order.price, left, reports, maker=True)
        return self._kept(reports)

    def on_time(self, now_us: int) -> list[Report]:
        """Do what is due by a time without an event: end what was taken back, and match what
        arrived meanwhile against the quote. A later event finds the same, only later.
        """
        reports: list[Report] = []
        if self._quote is not None:
            self._against_quote(now_us, reports)
        else:
            self._in_turn(now_us, reports)
        return self._kept(reports)

    def _in_turn(self, time_us: int, reports: list[Report]) -> list[Working]:
        """Return the orders that are at the venue by a time, stops first; end those taken back."""
        found = []
        for each in self.working:
            if not each.left:
                continue  # done by an earlier pass over the same event
            if each.cancel_us is not None and each.cancel_us <= time_us:
                self._end(each, each.cancel_us, "cancelled", "taken back", reports)
            elif each.arrival_us <= time_us:
                found.append(each)
        return sorted(found, key=_stops_first) if len(found) > 1 else found

    def _against_bar(self, each: Working, bar: Bar, room: int, reports: list[Report]) -> int:
        order, is_new = each.order, not each.at_venue
        buys = order.side == "buy"
        each.at_venue = True
        time_us = bar.start_us
        if order.kind == "stop":
            assert order.price is not None
            if (bar.high < order.price) if buys else (bar.low > order.price):
                return 0
            worse = max(bar.open, order.price) if buys else min(bar.open, order.price)
            each.order = _as_market(order)
            time_us = bar.start_us if worse == bar.open else bar.end_us
            return self._fill(each, time_us, self.costs.taken(order.side, worse), room, reports)
        taken = self.costs.taken(order.side, bar.open)
        if order.price is None:
            done = self._fill(each, time_us, taken, room, reports)
        elif is_new and (taken <= order.price if buys else taken >= order.price):
            if order.post_only:
                return self._end(each, time_us, "rejected", "post-only: would take", reports)
            done = self._fill(each, time_us, taken, room, reports)
        elif (bar.low < order.price if buys else bar.high > order.price) and not order.ioc:
            done = self._fill(each, bar.end_us, order.price, room, reports, maker=True)
        else:
            done = 0
        if order.ioc and each.left:
            self._end(each, time_us, "cancelled", "ioc: not filled at once", reports)
        return done

    def _against_quote(self, time_us: int, reports: list[Report]) -> None:
        for each in self._in_turn(time_us, reports):
            quote = self._quote
            assert quote is not None
            order, is_new = each.order, not each.at_venue
            each.at_venue = True
            buys = order.side == "buy"
            best, there = (quote.ask, quote.ask_size) if buys else (quote.bid, quote.bid_size)
            at_us = max(each.arrival_us, quote.time_us)
            price = order.price
            if order.kind == "stop":
                assert price is not None
                if (best < price) if buys else (best > price):
                    continue
                if self._holds is not None and self._holds(best):
                    continue
                each.order, price = _as_market(order), None
            done = 0
            if price is None or (best <= price if buys else best >= price):
                if order.post_only and is_new:
                    self._end(each, at_us, "rejected", "post-only: would take", reports)
                    continue
                rested = price is not None and not is_new
                taken = self.costs.slipped(order.side, best)
                if price is not None:
                    worst = min(taken, price) if buys else max(taken, price)
                    taken = price if rested else worst
                done = self._fill(each, at_us, taken, there, reports, maker=rested)
            if done:
                self._quote = (
                    quote._replace(ask_size=there - done)
                    if buys
                    else quote._replace(bid_size=there - done)
                )
            if order.ioc and each.left:
                self._end(each, at_us, "cancelled", "ioc: not filled at once", reports)

    def _fill(
        self,
        each: Working,
        time_us: int,
        price: int,
        room: int,
        reports: list[Report],
        *,
        maker: bool = False,
    ) -> int:
        size = min(each.left, room)
        if size <= 0:
            return 0
        each.left -= size
        order = each.order
        fee = self.costs.fee(price, size, maker=maker)
        reports.append(
            Fill(order.client_id, order.instrument, time_us, order.side, price, size, fee, maker)
        )
        return size

    def _end(
        self, each: Working, time_us: int, state: str, reason: str, reports: list[Report]
    ) -> int:
        each.left = 0
        order = each.order
        reports.append(
            Ended(
                order.client_id,
                order.instrument,
                time_us,
                "rejected" if state == "rejected" else "cancelled",
                reason,
            )
        )
        return 0

    def _kept(self, reports: list[Report]) -> list[Report]:
        if reports:
            self.working = [each for each in self.working if each.left]
        return reports


def _stops_first(each: Working) -> bool:
    return each.order.kind != "stop"


def _as_market(order: Order) -> Order:
    return Order(order.instrument, order.side, order.size, client_id=order.client_id)

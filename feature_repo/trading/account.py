"""What is held: cash, positions, what they are worth. Integers only; every change is a fill."""

from __future__ import annotations

from feature_repo.trading.market import Funding, Instrument
from feature_repo.trading.money import times
from feature_repo.trading.order import Fill


class Account:
    """Cash and positions of one strategy, in units of 1e-10.

    working: signed size of the orders that are out. marks: the last price known of each
    instrument. equity = cash + positions at their marks, whatever the market: a perpetual's
    margin is not modelled.
    """

    __slots__ = (
        *("cash", "costs", "fees", "funding", "marks"),
        *("positions", "realised", "working"),
    )

    def __init__(self, cash: int) -> None:
        self.cash = cash
        self.positions: dict[Instrument, int] = {}
        self.costs: dict[Instrument, int] = {}
        self.marks: dict[Instrument, int] = {}
        self.working: dict[Instrument, int] = {}
        self.realised = 0
        self.fees = 0
        self.funding = 0

    def expected(self, instrument: Instrument) -> int:
        """Return the position once all that is out is filled."""
        return self.positions.get(instrument, 0) + self.working.get(instrument, 0)

    def equity(self) -> int:
        """Return cash and positions at their marks."""
        worth = self.cash
        for instrument, size in self.positions.items():
            worth += times(self.marks[instrument], size)
        return worth

    def apply(self, fill: Fill) -> int:
        """Book a fill; return what it realised, without its fee.

        The cost of a position is the average of what opened it.
        """
        value = times(fill.price, fill.signed)
        self.cash -= value + fill.fee
        self.fees += fill.fee
        self.marks.setdefault(fill.instrument, fill.price)
        held = self.positions.pop(fill.instrument, 0)
        cost = self.costs.pop(fill.instrument, 0)
        after = held + fill.signed
        realised = 0
        if held * fill.signed >= 0:
            cost += value
        else:
            closed = min(abs(held), fill.size)
            closed_cost = _share(cost, closed, abs(held))
            closed_value = _share(value, closed, fill.size)
            realised = -closed_value - closed_cost
            cost = cost - closed_cost if abs(held) >= fill.size else value - closed_value
        if after:
            self.positions[fill.instrument] = after
            self.costs[fill.instrument] = cost
        self.realised += realised
        return realised

    def pay(self, funding: Funding) -> int:
        """Book a funding; return what was paid, below zero where it was got."""
        held = self.positions.get(funding.instrument, 0)
        if not held:
            return 0
        value = times(self.marks[funding.instrument], held)
        paid = times(value, funding.rate)
        self.cash -= paid
        self.funding += paid
        return paid


def _share(amount: int, of: int, whole: int) -> int:
    """Return amount * of / whole, half away from zero; the whole amount where of is all."""
    product = amount * of
    return (
        (2 * product + whole) // (2 * whole)
        if product >= 0
        else -((2 * -product + whole) // (2 * whole))
    )

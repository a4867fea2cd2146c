"""What trading costs, and how late it is."""

from __future__ import annotations

from dataclasses import dataclass

from feature_repo.trading.money import MILLION, part, times
from feature_repo.trading.order import Side
from lake.errors import WrongUse

LATENCY_US_MAX = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Costs:
    """Rates in millionths (a basis point is 100), of the value traded or of the price.

    maker, taker: fees; maker below zero is a rebate. half_spread: from a bar's price to the best
    bid or ask, where there are no quotes. slippage: worse than the best price, of who takes.
    latency_us: from a decision to the venue. participation: of a bar's volume that one order
    may be; what is more waits for the next bar.
    """

    maker: int = 0
    taker: int = 0
    half_spread: int = 0
    slippage: int = 0
    latency_us: int = 0
    participation: int = MILLION

    def __post_init__(self) -> None:
        rates = (self.maker, self.taker, self.half_spread, self.slippage)
        if any(abs(each) >= MILLION for each in rates) or min(rates[1:]) < 0:
            raise WrongUse("costs", "a rate is not within 0 and 10,000 bp", "give basis points")
        if not 0 <= self.latency_us <= LATENCY_US_MAX:
            raise WrongUse("latency", "is not within 0 and a day", "give milliseconds")
        if not 0 < self.participation <= MILLION:
            raise WrongUse("participation", "is not within 0 and 1", "give a share of the volume")

    def taken(self, side: Side, price: int) -> int:
        """Return what a taker pays or gets where a bar says a price."""
        worse = part(price, self.half_spread + self.slippage)
        return price + worse if side == "buy" else price - worse

    def slipped(self, side: Side, price: int) -> int:
        """Return what a taker pays or gets where a quote says the best price."""
        worse = part(price, self.slippage)
        return price + worse if side == "buy" else price - worse

    def fee(self, price: int, size: int, *, maker: bool) -> int:
        """Return the fee of a fill, in units of money."""
        return part(times(price, size), self.maker if maker else self.taker)

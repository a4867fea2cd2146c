"""What is known of prices as an order is asked about; pure, and the same each time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from feature_repo.trading.market import Instrument, Quote, Trade
from feature_repo.trading.money import MILLION
from feature_repo.trading.usual_price import UsualPrice


class Price(NamedTuple):
    """What an instrument is worth, units of 1e-10, and when that was said (event time, UTC).

    heard_us: how long ago it was heard, by a clock that nobody sets; 0 where nobody looked.
    """

    value: int
    time_us: int
    heard_us: int = 0

    def age_us(self, now_us: int) -> int:
        """Return how old it is: by its own time, or by when it was heard, whichever is more."""
        return max(now_us - self.time_us, self.heard_us)


@dataclass(slots=True)
class Known:
    """The newest price of a trade or the middle of a book, and that middle; what is usual."""

    price: Price
    middle: Price | None = None
    usual: UsualPrice = field(default_factory=UsualPrice)


def is_sound(quote: Quote) -> bool:
    """Tell whether a quote is one to trade on: both sides there, and not crossed."""
    return 0 < quote.bid <= quote.ask


def is_spike(price: int, usual: int | None, limit: int | None) -> bool:
    """Tell whether a price is further from what is usual than the limit, in millionths of that."""
    if limit is None or usual is None or usual <= 0:
        return False
    return abs(price - usual) * MILLION > limit * usual


class Prices:
    """The newest of each instrument, from its sound quotes and its trades."""

    def __init__(self) -> None:
        self._known: dict[Instrument, Known] = {}

    def take(self, event: Quote | Trade) -> None:
        """Take what came; what is older than the newest known is left."""
        known = self._known.get(event.instrument)
        is_trade = type(event) is Trade
        value = event.price if is_trade else (event.bid + event.ask) // 2  # type: ignore[union-attr]
        price = Price(value, event.time_us)
        if known is None:
            known = self._known[event.instrument] = Known(price)
        if event.time_us >= known.price.time_us:
            known.price = price
            known.usual.note(value, event.time_us)
        if not is_trade and (known.middle is None or event.time_us >= known.middle.time_us):
            known.middle = price

    def known(self, instrument: Instrument) -> Known | None:
        """Return what is known of an instrument; None for one that nothing was said of."""
        return self._known.get(instrument)

    def usual(self, instrument: Instrument) -> int | None:
        """Return what an instrument usually costs; None where nobody knows yet."""
        known = self._known.get(instrument)
        return None if known is None else known.usual.value()

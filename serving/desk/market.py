"""What a desk is told of the market: newest trade and quote, and the frames that each rests on."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from feature_repo.trading.market import Instrument, Quote, Trade
from serving.risk.prices import Price, is_sound
from serving.streams.keys import Place


class Rest(NamedTuple):
    """Frames of a shard that something rests on: the last of each epoch. said_in: the one that
    said it, which is none of these where more came in one round; 0 where nobody knows.
    """

    shard: int
    frames: tuple[Place, ...]
    said_in: int = 0

    @property
    def words(self) -> str:
        """Return it as an order's origin names its ticks: SHARD:FIRST-LAST."""
        numbers = [self.said_in] if self.said_in else [each.frame for each in self.frames]
        return f"{self.shard}:{min(numbers)}-{max(numbers)}"


class Told(NamedTuple):
    """The newest of an instrument; None: nothing was heard. *_rest: None where no worker said.

    usual: what its trades usually cost (UsualPrice); None where nobody knows yet. *_heard_us: how
    long ago each was heard, by the monotonic clock: a step of the other makes nothing fresh.
    """

    trade: Trade | None
    trade_rest: Rest | None
    quote: Quote | None
    quote_rest: Rest | None
    usual: int | None = None
    trade_heard_us: int = 0
    quote_heard_us: int = 0


class Seen(NamedTuple):
    """What risk asks of a market: the last trade, what is usual, the middle of a book that is
    not crossed.
    """

    price: Price | None = None
    usual: int | None = None
    middle: Price | None = None


def seen_of(told: Told | None) -> Seen:
    """Return what risk is to know of what was told."""
    if told is None:
        return Seen()
    trade, quote = told.trade, told.quote
    price = None if trade is None else Price(trade.price, trade.time_us, told.trade_heard_us)
    middle = None
    if quote is not None and is_sound(quote):
        worth = (quote.bid + quote.ask) // 2
        middle = Price(worth, quote.time_us, told.quote_heard_us)
    return Seen(price, told.usual, middle)


class Market(Protocol):
    """Whoever hears of prices; any thread may ask."""

    def told(self, instrument: Instrument) -> Told | None:
        """Return the newest of an instrument; None for one that nobody spoke of."""

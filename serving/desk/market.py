"""What a desk is told of the market: newest trade and quote, and the frames that each rests on."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from feature_repo.trading.market import Instrument, Quote, Trade
from serving.streams.keys import Place


class Rest(NamedTuple):
    """Frames of a shard that something rests on: the last of each epoch."""

    shard: int
    frames: tuple[Place, ...]

    @property
    def words(self) -> str:
        """Return it as an order's origin names its ticks: SHARD:FIRST-LAST."""
        numbers = [each.frame for each in self.frames]
        return f"{self.shard}:{min(numbers)}-{max(numbers)}"


class Told(NamedTuple):
    """The newest of an instrument; None: nothing was heard. *_rest: None where no worker said."""

    trade: Trade | None
    trade_rest: Rest | None
    quote: Quote | None
    quote_rest: Rest | None


class Market(Protocol):
    """Whoever hears of prices; any thread may ask."""

    def told(self, instrument: Instrument) -> Told | None:
        """Return the newest of an instrument; None for one that nobody spoke of."""

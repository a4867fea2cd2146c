"""Where a desk's orders go: a broker, and how its orders are taken back after a restart."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from feature_repo.trading.costs import Costs
from feature_repo.trading.market import Instrument, Quote, Trade
from feature_repo.trading.order import Order
from lake.errors import Unavailable
from serving.broker.broker import Broker
from serving.broker.paper_broker import PaperBroker
from serving.desk.market import Market, Rest
from serving.desk.rests import Rests
from serving.risk.prices import is_sound, is_spike

WAITING_MAX = 64
"""Quotes and trades of an instrument that wait for their frames; the oldest are left out."""

AGE_US_MAX = 5_000_000
"""What is older when it is first heard of is no market any more."""


class Again(NamedTuple):
    """An order of before a restart. order: as it is now; accepted: the venue said that it works;
    asked: as it was asked for.
    """

    order: Order
    placed_us: int
    filled: int
    accepted: bool
    asked: Order


class Venue(Protocol):
    """A broker, and what it needs beside its orders."""

    @property
    def broker(self) -> Broker:
        """Return where orders go."""

    def look(self, now_us: int, instruments: Iterable[Instrument]) -> None:
        """Let it see the market of the instruments in which orders work."""

    def take_back(self, again: Again, now_us: int) -> int:
        """Take back an order; return how much of it this broker will not tell of again."""


class RealVenue:
    """Any broker behind which a venue remembers: the same order again finds what is there."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    def look(self, now_us: int, instruments: Iterable[Instrument]) -> None:
        """Do nothing: the venue has its own eyes."""

    def take_back(self, again: Again, now_us: int) -> int:
        """Ask for it again: all that became of it is told anew, and known by its size so far."""
        self.broker.place(again.asked, now_us)
        return 0


@dataclass(slots=True)
class _Shown:
    """What was heard of an instrument and waits for its frames."""

    quote: Quote | None = None
    trade: Trade | None = None
    waiting: deque[tuple[Rest | None, Callable[[], None]]] = field(
        default_factory=lambda: deque(maxlen=WAITING_MAX)
    )


class PaperVenue:
    """The paper broker, which sees of the market what is durable, and nothing else.

    spike: how far a price that sets off a stop may be from what is usual; see RiskLimits.
    """

    def __init__(
        self, costs: Costs, market: Market, rests: Rests, spike: int | None = None
    ) -> None:
        self._spike = spike
        self._market = market
        self._rests = rests
        self._shown: dict[Instrument, _Shown] = {}
        self._paper = PaperBroker(costs, self._holds)

    @property
    def broker(self) -> Broker:
        """Return the paper broker."""
        return self._paper

    def look(self, now_us: int, instruments: Iterable[Instrument]) -> None:
        """Show the broker what is new and durable."""
        wanted = set(instruments)
        for gone in self._shown.keys() - wanted:
            del self._shown[gone]
        for instrument in sorted(wanted):
            shown = self._shown.setdefault(instrument, _Shown())
            self._hear(instrument, shown, now_us)
        with suppress(Unavailable):  # nothing is durable then, as far as we know
            for shown in self._shown.values():
                self._show(shown)
        self._paper.settle(now_us)

    def take_back(self, again: Again, now_us: int) -> int:
        """Put it back as it stood; one that did not get here sets out now."""
        placed_us = again.placed_us if again.accepted else now_us
        self._paper.restore([(again.order, placed_us, again.filled, again.accepted)])
        return again.filled

    def _holds(self, instrument: Instrument, price: int) -> bool:
        told = self._market.told(instrument)
        return told is not None and is_spike(price, told.usual, self._spike)

    def _show(self, shown: _Shown) -> None:
        while shown.waiting:
            rest, show = shown.waiting[0]
            found = self._rests.about(rest)
            if found == "waiting":
                break
            shown.waiting.popleft()
            if found == "durable":
                show()

    def _hear(self, instrument: Instrument, shown: _Shown, now_us: int) -> None:
        told = self._market.told(instrument)
        if told is None:
            return
        quote, trade = told.quote, told.trade

        def is_new(each: Quote | Trade, heard_us: int) -> bool:
            return max(now_us - each.time_us, heard_us) <= AGE_US_MAX

        if quote is not None and quote != shown.quote and is_new(quote, told.quote_heard_us):
            shown.quote = quote
            if is_sound(quote):  # a session leaves out what is crossed, too
                shown.waiting.append((told.quote_rest, self._quote(quote)))
        if trade is not None and trade != shown.trade and is_new(trade, told.trade_heard_us):
            shown.trade = trade
            shown.waiting.append((told.trade_rest, self._trade(trade)))

    def _quote(self, quote: Quote) -> Callable[[], None]:
        return lambda: self._paper.on_quote(quote)

    def _trade(self, trade: Trade) -> Callable[[], None]:
        return lambda: self._paper.on_trade(trade)

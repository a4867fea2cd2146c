"""What a strategy may see: events of the market, each with the time at which it was known.

Times are microseconds since the epoch, UTC; prices, sizes and rates are units of 1e-10. An event's
available_us is at or after its own time: nobody acts on it before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Instrument(NamedTuple):
    """One market of one venue, for instance X:BTCUSD, coinbase, spot."""

    ticker: str
    exchange: str
    market: str


class Bar(NamedTuple):
    """A closed bar of [start_us, end_us)."""

    instrument: Instrument
    start_us: int
    end_us: int
    available_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int


class Quote(NamedTuple):
    """Best bid and ask from time_us on, with the sizes that stand there."""

    instrument: Instrument
    time_us: int
    available_us: int
    bid: int
    bid_size: int
    ask: int
    ask_size: int


class Trade(NamedTuple):
    """A trade of others."""

    instrument: Instrument
    time_us: int
    available_us: int
    price: int
    size: int


class Row(NamedTuple):
    """Values of features, or of a model, by name; a null is not among them.

    name: what a model's prediction is called, where it is kept; "" for others.
    """

    instrument: Instrument
    time_us: int
    available_us: int
    values: Mapping[str, float]
    name: str = ""


class Funding(NamedTuple):
    """A perpetual's funding: who is long pays rate times the position's value, or gets it."""

    instrument: Instrument
    time_us: int
    available_us: int
    rate: int


Event = Bar | Quote | Trade | Row | Funding

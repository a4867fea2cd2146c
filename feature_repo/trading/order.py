"""What a strategy asks for, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from feature_repo.trading.market import Instrument
from lake.errors import WrongUse

Side = Literal["buy", "sell"]
Kind = Literal["market", "limit", "stop"]
State = Literal[
    "created", "accepted", "partially_filled", "filled", "cancelled", "rejected", "expired"
]


@dataclass(frozen=True, slots=True)
class Order:
    """A wish to buy or sell; size and price in units of 1e-10.

    price: of a limit order its limit, of a stop order the price that makes it a market order.
    ioc: what is not filled at once is cancelled. post_only: refused where it would take.
    client_id: the same id is the same order; "" has one given, by the order of the wishes.
    """

    instrument: Instrument
    side: Side
    size: int
    kind: Kind = "market"
    price: int | None = None
    ioc: bool = False
    post_only: bool = False
    client_id: str = ""

    def __post_init__(self) -> None:
        if self.size <= 0:
            raise WrongUse(f"order of {self.size} units", "has no size", "give one above zero")
        if (self.price is None) != (self.kind == "market"):
            fault = "has a price" if self.kind == "market" else "has none"
            raise WrongUse(f"{self.kind} order", fault, "limit and stop have a price, market none")
        if self.post_only and (self.kind != "limit" or self.ioc):
            raise WrongUse("post-only order", "would take", "make it a limit that may rest")
        if self.ioc and self.kind == "stop":
            raise WrongUse("stop order", "is never filled at once", "leave out ioc")

    @property
    def signed(self) -> int:
        """Return its size, below zero for a sale."""
        return self.size if self.side == "buy" else -self.size


@dataclass(frozen=True, slots=True)
class Cancel:
    """A wish to take an order back; one that is done already stays as it is."""

    instrument: Instrument
    client_id: str


Action = Order | Cancel


@dataclass(frozen=True, slots=True)
class Fill:
    """A part of an order that was done; fee below zero: a rebate. maker: it rested before."""

    client_id: str
    instrument: Instrument
    time_us: int
    side: Side
    price: int
    size: int
    fee: int
    maker: bool

    @property
    def signed(self) -> int:
        """Return its size, below zero for a sale."""
        return self.size if self.side == "buy" else -self.size


@dataclass(frozen=True, slots=True)
class Ended:
    """An order that ended without being filled whole, and why."""

    client_id: str
    instrument: Instrument
    time_us: int
    state: State
    reason: str


Report = Fill | Ended

"""What may be asked of the ledger. Amounts are units of 1e-10, times microseconds UTC."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from feature_repo.trading.market import Instrument
from feature_repo.trading.order import Order, State
from lake.errors import BadInput

ChangeType = Literal["accepted", "amended", "filled", "cancelled", "rejected", "expired"]

ORIGIN = ("ticks", "features", "model", "code")
"""What an order rests on, by name: the frames of its ticks, its row of features, version of model
and of code. Its audit asks for each of them."""

PREDICTION = "prediction"
"""What an order that followed a model names besides: the id of the prediction, which leads to its
row of model_predictions. Those of before have none."""

NONE = "none"
BY_HAND = "by hand: "
"""Stand in an origin for what an order does not rest on, and before the name of who asked for it in
place of a model."""

NAME_CHARACTERS_MAX = 200
TEXT_CHARACTERS_MAX = 4_000
AMOUNT_MAX = 10**28 - 1
"""Largest amount, in units: what numeric(28,10) holds."""

NAMES_KEPT_MAX = 50_000
"""Ids that are remembered: making one costs 20 microseconds."""

_ORDERS = uuid.UUID("6f0f7c58-9a54-5c0f-8f3b-5a2f2d1c7e01")


@dataclass(frozen=True, slots=True)
class Place:
    """Create an order; order.client_id names it within the account, and the command as well.

    origin: some of ORIGIN, what it rests on, and PREDICTION.
    """

    account: str
    order: Order
    event_time_us: int
    origin: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_names(self.account, self.order.client_id, *self.order.instrument)
        check_texts(*self.origin.values())
        check_amounts(self.order.size, self.order.price)
        unknown = set(self.origin) - {*ORIGIN, PREDICTION}
        if unknown:
            fault, known = f"has {', '.join(sorted(unknown))}", ", ".join((*ORIGIN, PREDICTION))
            raise BadInput("origin of an order", fault, f"name {known} only")

    @property
    def order_id(self) -> str:
        """Return the order's id: the same for the same account and client order id."""
        return order_id(self.account, self.order.client_id)


@dataclass(frozen=True, slots=True)
class Change:
    """Say what became of an order.

    command_id: the same is the same change, done once; of a fill, the venue's id of it. price,
    size, fee, liquidity: of a fill all; of amended the new price and size, None where it stays.
    expected_sequence: refused where the order has moved on; None: any.
    """

    account: str
    client_order_id: str
    event_type: ChangeType
    command_id: str
    event_time_us: int
    price: int | None = None
    size: int | None = None
    fee: int | None = None
    liquidity: Literal["", "maker", "taker"] = ""
    reason: str = ""
    expected_sequence: int | None = None

    def __post_init__(self) -> None:
        check_names(self.account, self.client_order_id, self.command_id)
        check_texts(self.reason)
        check_amounts(self.size, self.price, signed=self.fee)

    @property
    def order_id(self) -> str:
        """Return the id of the order that it changes."""
        return order_id(self.account, self.client_order_id)


@dataclass(frozen=True, slots=True)
class ImportOrder:
    """Take over an order of an earlier system as it stands; its opening event.

    state: where it stood. filled, filled_value, fees: of it in all, by then.
    """

    account: str
    order: Order
    event_time_us: int
    state: State
    filled: int
    filled_value: int
    fees: int
    source: str

    def __post_init__(self) -> None:
        check_names(self.account, self.order.client_id, *self.order.instrument)
        check_texts(self.source)
        check_amounts(self.order.size, self.order.price, signed=self.fees)
        check_amounts(None, None, signed=self.filled_value)
        if not 0 <= self.filled <= self.order.size:
            fault = "is filled beyond its size, or below none"
            raise BadInput(f"order {self.order.client_id}", fault, "repair it in the old table")

    @property
    def order_id(self) -> str:
        """Return the order's id."""
        return order_id(self.account, self.order.client_id)


@dataclass(frozen=True, slots=True)
class Mark:
    """Note a price of what is held, for the value of the account from then on."""

    account: str
    instrument: Instrument
    price: int
    event_time_us: int
    command_id: str

    def __post_init__(self) -> None:
        check_names(self.account, self.command_id, *self.instrument)
        check_amounts(None, self.price)


@dataclass(frozen=True, slots=True)
class Cash:
    """Book money that comes (above zero) or goes.

    source: the table of an earlier system that says so; "" for money that moves now.
    """

    account: str
    amount: int
    event_time_us: int
    command_id: str
    reason: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        check_names(self.account, self.command_id)
        check_texts(self.reason, self.source)
        check_amounts(None, None, signed=self.amount)


@dataclass(frozen=True, slots=True)
class ImportPosition:
    """Take over a position of an earlier system: its size (signed), cost and last price."""

    account: str
    instrument: Instrument
    size: int
    cost: int
    realised: int
    fees: int
    price: int
    event_time_us: int
    command_id: str
    source: str

    def __post_init__(self) -> None:
        check_names(self.account, self.command_id, *self.instrument)
        check_texts(self.source)
        check_amounts(None, self.price)
        for amount in (self.size, self.cost, self.realised, self.fees):
            check_amounts(None, None, signed=amount)


OrderCommand = Place | Change | ImportOrder
PositionCommand = Mark | Cash | ImportPosition
Command = OrderCommand | PositionCommand


@lru_cache(NAMES_KEPT_MAX)
def order_id(account: str, client_order_id: str) -> str:
    """Return the id of an order, the same in every run."""
    return str(uuid.uuid5(_ORDERS, f"{account}\n{client_order_id}"))


def check_names(*names: str) -> None:
    """Raise BadInput for a name that is empty, too long, or has control characters."""
    for name in names:
        if not name or len(name) > NAME_CHARACTERS_MAX or not name.isprintable():
            fault = "is empty, too long or has control characters"
            raise BadInput(f"name {name[:40]!r}", fault, f"{NAME_CHARACTERS_MAX} printable at most")


def check_texts(*texts: str) -> None:
    """Raise BadInput for a text that PostgreSQL or UTF-8 can't hold, or a page could not."""
    for text in texts:
        if len(text) > TEXT_CHARACTERS_MAX or not (text.isprintable() or text == ""):
            fault = "is too long or has control characters"
            raise BadInput(f"text {text[:40]!r}", fault, f"{TEXT_CHARACTERS_MAX} printable at most")


def check_amounts(size: int | None, price: int | None, signed: int | None = None) -> None:
    """Raise BadInput for amounts that numeric(28,10) does not hold, or sizes that are none."""
    for amount in (size, price, signed):
        if amount is not None and abs(amount) > AMOUNT_MAX:
            raise BadInput("amount", "is beyond numeric(28,10)", "split the order")
    if (size is not None and size <= 0) or (price is not None and price < 0):
        raise BadInput("order", "has a size of nothing or a price below zero", "correct it")

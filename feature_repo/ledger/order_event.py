"""What happened to an order: one event, as it is hashed and kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from feature_repo.ledger.chain import Field, amount_text, canonical
from feature_repo.trading.market import Instrument
from feature_repo.trading.order import Kind, Side

EventType = Literal[
    "created",
    "accepted",
    "amended",
    "partially_filled",
    "filled",
    "cancelled",
    "rejected",
    "expired",
    "imported",
]


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """One event of an order. Amounts are units of 1e-10, times microseconds UTC.

    id: place among all events, 1, 2, 3. sequence_number: place among its order's. command_id: what
    its maker calls the command, so that the same is done once. price, size: of the order for
    created, amended and imported; of the fill for a fill; None for the others. data: JSON, keys
    sorted; the canonical form of what has no column.
    """

    id: int
    order_id: str
    sequence_number: int
    event_type: EventType
    event_time_us: int
    account: str
    client_order_id: str
    command_id: str
    instrument: Instrument
    side: Side
    kind: Kind
    price: int | None
    size: int | None
    fee: int | None
    liquidity: str
    data: str
    created_us: int

    def text(self) -> str:
        """Return its canonical text."""
        return canonical(self.fields())

    def fields(self) -> tuple[Field, ...]:
        """Return what is hashed, in the order of the table's columns."""
        return (
            *(self.id, self.order_id, self.sequence_number, self.event_type, self.event_time_us),
            *(self.account, self.client_order_id, self.command_id, *self.instrument),
            *(self.side, self.kind),
            *(amount_text(self.price), amount_text(self.size), amount_text(self.fee)),
            *(self.liquidity, self.data, self.created_us),
        )

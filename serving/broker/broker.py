"""What every broker does, of paper or real: the one interface that orders leave through.

tests/serving/broker_conformance.py holds any of them to what is said here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from feature_repo.trading.market import Instrument
from feature_repo.trading.order import Ended, Fill, Order


@dataclass(frozen=True, slots=True)
class Accepted:
    """An order that has reached the venue and works there. venue_id: the venue's name for it."""

    client_id: str
    instrument: Instrument
    time_us: int
    venue_id: str


@dataclass(frozen=True, slots=True)
class Amended:
    """An order that is as an amendment wanted; None: as it was."""

    client_id: str
    instrument: Instrument
    time_us: int
    amendment: str
    price: int | None
    size: int | None


@dataclass(frozen=True, slots=True)
class Unamended:
    """An amendment that came to nothing, and why; the order goes on as it was."""

    client_id: str
    instrument: Instrument
    time_us: int
    amendment: str
    reason: str


BrokerReport = Accepted | Fill | Ended | Amended | Unamended


class Broker(Protocol):
    """Takes orders and says what becomes of them.

    Every call may be made again after its answer was lost: the same client id is the same order,
    and is sent once. Reports of one order come in this order: Accepted, Fill after Fill, Ended; an
    order filled whole has no Ended, one that the venue refused has nothing but its Ended, rejected.
    Each report is given once by one broker; the fills of an order never pass its size. Amended and
    Unamended come between Accepted and what ends the order.
    """

    def place(self, order: Order, now_us: int) -> None:
        """Send an order that has a client id.

        Raises WrongUse where the id is that of another order, Unavailable where the venue can't be
        reached: then the order may be there or not, and the same call is made again.
        """

    def cancel(self, client_id: str, now_us: int) -> None:
        """Ask for an order's end; nothing where it is not known or done. Raises Unavailable.

        One whose place had no answer is looked for, and never sent anew: where it surely did not
        reach the venue, its Ended, cancelled, is all that is reported of it.
        """

    def amend(
        self, client_id: str, amendment: str, price: int | None, size: int | None, now_us: int
    ) -> None:
        """Ask for another price or size of an order, None: as it is; a report says what came of it
        unless the order ends first. Nothing where it is not known or done. The same amendment is
        sent once. Raises Unavailable; Refused where the venue amends no order.
        """

    def cancel_all(self, now_us: int) -> None:
        """Ask for the end of every order that is known to work, and wait for nothing else.

        One whose place had no answer is for cancel(). Raises Unavailable.
        """

    def reports(self, now_us: int) -> Sequence[BrokerReport]:
        """Return what happened since the last call, in its order. Raises Unavailable."""

    def working(self) -> Sequence[str]:
        """Return the client ids of orders that are sent and not done, as far as reported."""

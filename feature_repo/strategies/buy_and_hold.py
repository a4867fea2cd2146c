"""Buy once, and hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from feature_repo.trading.account import Account
from feature_repo.trading.market import Bar, Event, Quote
from feature_repo.trading.money import UNIT, Units
from feature_repo.trading.order import Order
from feature_repo.trading.strategy import orders_towards
from feature_repo.trading.sweep import Targets


@dataclass
class BuyAndHold:
    """Buys `size` of each instrument when it is first seen: what any other has to beat.

    size: units of 1e-10 of the base currency.
    """

    size: int = UNIT
    name: ClassVar[str] = "buy-and-hold"

    def on_event(self, event: Event, account: Account) -> Sequence[Order]:
        """Return the order, once."""
        if type(event) is not Bar and type(event) is not Quote:
            return ()
        return orders_towards(self.size, event.instrument, account)

    def targets(self, closes: Units) -> Targets:
        """Return a one for each bar."""
        return np.ones(len(closes), np.int8)

"""Follow a model's predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from feature_repo.trading.account import Account
from feature_repo.trading.market import Event, Row
from feature_repo.trading.money import UNIT
from feature_repo.trading.order import Order
from feature_repo.trading.strategy import orders_towards
from lake.errors import WrongUse


@dataclass
class ModelSignal:
    """Long `size` from a prediction above `enter` until one at or below `leave`.

    With short, the mirror image. Predictions are rows of the value named `prediction`; whatever
    makes them, a champion model, a table of another's, says when each was known. One that is
    missing changes nothing.
    """

    enter: float = 0.0
    leave: float = 0.0
    short: bool = False
    size: int = UNIT
    value: str = "prediction"
    name: ClassVar[str] = "model-signal"

    def __post_init__(self) -> None:
        if not 0 <= self.leave <= self.enter:
            raise WrongUse(
                f"enter={self.enter}, leave={self.leave}", "do not fit", "0 <= leave <= enter"
            )

    def on_event(self, event: Event, account: Account) -> Sequence[Order]:
        """Return the order towards the target after a prediction."""
        if type(event) is not Row or self.value not in event.values:
            return ()
        said = event.values[self.value]
        held = account.expected(event.instrument)
        target = held
        if (held > 0 and said <= self.leave) or (held < 0 and said >= -self.leave):
            target = 0
        if said > self.enter:
            target = self.size
        elif self.short and said < -self.enter:
            target = -self.size
        return orders_towards(target, event.instrument, account)

"""What whoever asks for an order hears."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from feature_repo.trading.order import Order
from serving.risk.limits import Breach

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Placed:
    """An order as it stands, and whether this call placed it."""

    order: Row
    is_new: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """An order, the limits that it would pass, and when they were asked."""

    order: Order
    breaches: Sequence[Breach]
    at_us: int


class RiskRefused(Exception):
    """Limits that an order would pass: rows of rule, reason, measured, limit."""

    def __init__(self, breaches: Sequence[Row]) -> None:
        super().__init__("; ".join(str(each["reason"]) for each in breaches))
        self.breaches = breaches

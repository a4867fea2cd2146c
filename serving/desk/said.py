"""What whoever asks for an order hears."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Placed:
    """An order as it stands, and whether this call placed it."""

    order: Row
    is_new: bool


class RiskRefused(Exception):
    """Limits that an order would pass: rows of rule, reason, measured, limit."""

    def __init__(self, breaches: Sequence[Row]) -> None:
        super().__init__("; ".join(str(each["reason"]) for each in breaches))
        self.breaches = breaches

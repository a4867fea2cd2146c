"""Candles as a chart needs them: floats, for the eye only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Candle:
    """One bar; label: its time, as it is to be written."""

    label: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int

    @property
    def rises(self) -> bool:
        """Tell whether it closed at or above its open."""
        return self.close >= self.open


def candles(rows: Iterable[tuple[Any, ...]]) -> list[Candle]:
    """Return candles of rows of time, open, high, low, close, volume, trades."""
    found = []
    for label, *numbers, trades in rows:
        opened, high, low, close, volume = map(float, numbers)
        found.append(Candle(str(label), opened, high, low, close, volume, int(trades)))
    return found

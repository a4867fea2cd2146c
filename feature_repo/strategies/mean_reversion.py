"""Buy what has fallen far below its mean, and sell when it is back."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from feature_repo.trading.account import Account
from feature_repo.trading.market import Bar, Event, Instrument
from feature_repo.trading.money import UNIT, Units
from feature_repo.trading.order import Order
from feature_repo.trading.strategy import orders_towards
from feature_repo.trading.sweep import Targets
from lake.errors import WrongUse

WINDOW_MAX = 5_000


@dataclass
class MeanReversion:
    """Long `size` from z < -enter until z >= -leave; with short, the mirror image above the mean.

    z = (close - mean) / deviation of the last `window` closes, this one among them; the deviation
    is the population's. Sums run from the oldest close to the newest, here and over a whole series
    alike, so that both come to the same bits.
    """

    window: int = 20
    enter: float = 2.0
    leave: float = 0.0
    short: bool = False
    size: int = UNIT
    name: ClassVar[str] = "mean-reversion"
    _seen: dict[Instrument, deque[float]] = field(default_factory=dict, init=False, repr=False)
    _held: dict[Instrument, int] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 2 <= self.window <= WINDOW_MAX:
            raise WrongUse(f"window={self.window}", "is none", f"2 to {WINDOW_MAX:,} bars")
        if not 0 <= self.leave < self.enter < math.inf:
            raise WrongUse(
                f"enter={self.enter}, leave={self.leave}", "do not fit", "0 <= leave < enter"
            )

    def on_event(self, event: Event, account: Account) -> Sequence[Order]:
        """Return the order towards the target after a bar."""
        if type(event) is not Bar:
            return ()
        instrument = event.instrument
        seen = self._seen.setdefault(instrument, deque(maxlen=self.window))
        seen.append(float(event.close))
        if len(seen) < self.window:
            return ()
        away, deviation = _away(seen)
        held = self._held.get(instrument, 0)
        if held > 0 and away >= -self.leave * deviation:
            held = 0
        if held < 0 and away <= self.leave * deviation:
            held = 0
        if away < -self.enter * deviation:
            held = 1
        if self.short and away > self.enter * deviation:
            held = -1
        self._held[instrument] = held
        return orders_towards(held * self.size, instrument, account)

    def targets(self, closes: Units) -> Targets:
        """Return 1, 0 or -1 for each bar, by the same floats in the same order."""
        found = np.zeros(len(closes), np.int8)
        if len(closes) < self.window:
            return found
        values = closes.astype(np.float64)
        lags = [values[at : len(values) - self.window + 1 + at] for at in range(self.window)]
        mean = _added(lags) / self.window
        deviation = np.sqrt(_squares(lags, mean) / self.window)
        away = lags[-1] - mean
        held = _held(away < -self.enter * deviation, away >= -self.leave * deviation)
        if self.short:
            held = held - _held(away > self.enter * deviation, away <= self.leave * deviation)
        found[self.window - 1 :] = held
        return found


def _away(seen: Sequence[float]) -> tuple[float, float]:
    """Return how far the newest is from the mean, and the deviation."""
    total = 0.0
    for each in seen:
        total += each
    mean = total / len(seen)
    squares = 0.0
    for each in seen:
        squares += (each - mean) * (each - mean)
    return seen[-1] - mean, math.sqrt(squares / len(seen))


def _added(lags: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    total = np.zeros(len(lags[0]))
    for each in lags:
        total += each
    return total


def _squares(
    lags: Sequence[npt.NDArray[np.float64]], mean: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    total = np.zeros(len(mean))
    for each in lags:
        away = each - mean
        total += away * away
    return total


def _held(begins: npt.NDArray[np.bool_], ends: npt.NDArray[np.bool_]) -> Targets:
    """Return 1 from where it begins to before where it ends; where both are, it begins."""
    said = np.where(begins, 1, np.where(ends, 0, -1)).astype(np.int8)
    last = np.maximum.accumulate(np.where(said >= 0, np.arange(len(said)), -1))
    return np.where(last >= 0, said[np.maximum(last, 0)], 0).astype(np.int8)

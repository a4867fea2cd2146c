"""Be long while the fast average of closes is above the slow one."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from feature_repo.trading.account import Account
from feature_repo.trading.market import Bar, Event, Instrument
from feature_repo.trading.money import UNIT, Units
from feature_repo.trading.order import Order
from feature_repo.trading.strategy import orders_towards
from feature_repo.trading.sweep import Targets
from lake.errors import WrongUse

WINDOW_MAX = 5_000
"""Bars: with prices below 100 million, a window's sum stays within 64 bits."""


@dataclass
class MovingAverageCross:
    """Long `size` while mean(close, fast) > mean(close, slow); flat, or short, while it is below.

    Windows in bars, with fast < slow; nothing is held until `slow` bars have been seen. short: go
    short instead of flat. Sums are integers, so it does not matter where a window began.
    """

    fast: int = 20
    slow: int = 50
    short: bool = False
    size: int = UNIT
    name: ClassVar[str] = "moving-average-cross"
    _seen: dict[Instrument, deque[int]] = field(default_factory=dict, init=False, repr=False)
    _sums: dict[Instrument, list[int]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.fast < self.slow <= WINDOW_MAX:
            raise WrongUse(
                f"fast={self.fast}, slow={self.slow}",
                "are no windows",
                f"0 < fast < slow <= {WINDOW_MAX:,}",
            )

    def on_event(self, event: Event, account: Account) -> Sequence[Order]:
        """Return the order towards the target after a bar."""
        if type(event) is not Bar:
            return ()
        instrument, close = event.instrument, event.close
        seen = self._seen.get(instrument)
        if seen is None:
            seen = self._seen[instrument] = deque(maxlen=self.slow)
            self._sums[instrument] = [0, 0]
        sums = self._sums[instrument]
        if len(seen) == self.slow:
            sums[1] -= seen[0]
        if len(seen) >= self.fast:
            sums[0] -= seen[-self.fast]
        seen.append(close)
        sums[0] += close
        sums[1] += close
        if len(seen) < self.slow:
            return ()
        fast, slow = sums[0] * self.slow, sums[1] * self.fast
        target = self.size if fast > slow else -self.size if self.short and fast < slow else 0
        return orders_towards(target, instrument, account)

    def targets(self, closes: Units) -> Targets:
        """Return 1, 0 or -1 for each bar, by the same integers."""
        found = np.zeros(len(closes), np.int8)
        if len(closes) < self.slow:
            return found
        sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(closes)])
        fast = (sums[self.fast :] - sums[: -self.fast])[self.slow - self.fast :]
        slow = sums[self.slow :] - sums[: -self.slow]
        # fast / self.fast against slow / self.slow without a product that passes 64 bits
        fast_whole, fast_rest = np.divmod(fast, self.fast)
        slow_whole, slow_rest = np.divmod(slow, self.slow)
        whole = fast_whole - slow_whole
        sign = np.sign(np.where(whole, whole, fast_rest * self.slow - slow_rest * self.fast))
        found[self.slow - 1 :] = sign if self.short else np.maximum(sign, 0)
        return found

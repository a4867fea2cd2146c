"""When each event happens: a steady rate with bursts, as a function of the event's number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from infra.exchange.options import Burst

HORIZON_S = 1e9
"""End of the last span, seconds: later than any run."""


class Schedule:
    """Map event numbers to microseconds since the first event, monotonic."""

    def __init__(self, rate: int, bursts: tuple[Burst, ...] = ()) -> None:
        seconds, numbers = [0.0], [0.0]

        def extend(until_s: float, per_s: int) -> None:
            numbers.append(numbers[-1] + (until_s - seconds[-1]) * per_s)
            seconds.append(until_s)

        for burst in sorted(bursts, key=lambda burst: burst.at_s):
            extend(burst.at_s, rate)
            extend(burst.at_s + burst.for_s, burst.rate)
        extend(seconds[-1] + HORIZON_S, rate)
        self._at_us = np.array(seconds) * 1e6
        self._numbers = np.array(numbers)

    def offsets_us(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """Return the offsets of count events from number first (inclusive, from 0)."""
        numbers = np.arange(first, first + count, dtype=np.float64)
        return np.interp(numbers, self._numbers, self._at_us).astype(np.int64)

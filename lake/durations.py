"""How long steps take, as histograms that cost a bisection per step to keep."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lake.clock import Clock

BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets, inclusive, in seconds; what is longer has a bucket of its own."""


@dataclass
class Durations:
    """A histogram: counts per bucket and the sum of all. One thread notes, any may read."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    def note(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds


class StageTimes:
    """Durations per named stage; the names are fixed, so that a reader meets no growing dict."""

    def __init__(self, clock: Clock, names: Sequence[str]) -> None:
        self._clock = clock
        self.times = {name: Durations() for name in names}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Note how long the block takes; one that raises is left out."""
        start_us = self._clock.monotonic_us()
        yield
        self.times[name].note((self._clock.monotonic_us() - start_us) / 1e6)

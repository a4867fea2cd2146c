"""How often each caller may ask: a bucket of tokens for each, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict

from lake.clock import Clock

CALLERS_MAX = 10_000
"""Callers that are remembered; the one that asked least lately is forgotten, and begins anew."""


class Rate:
    """burst tokens at first, per_s more each second, never above burst."""

    def __init__(self, clock: Clock, burst: int, per_s: float) -> None:
        self._clock = clock
        self._burst = float(burst)
        self._per_us = per_s / 1e6
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, caller: str) -> float:
        """Take a token; return 0.0, or the seconds after which there is one, and take none."""
        left = self._left(caller)
        taken = left - 1.0 if left >= 1.0 else left
        self._buckets[caller] = (taken, self._clock.monotonic_us())
        self._buckets.move_to_end(caller)
        if len(self._buckets) > CALLERS_MAX:
            self._buckets.popitem(last=False)
        return 0.0 if left >= 1.0 else self._wait_s(left)

    def _left(self, caller: str) -> float:
        now_us = self._clock.monotonic_us()
        tokens, at_us = self._buckets.get(caller, (self._burst, now_us))
        return min(self._burst, tokens + (now_us - at_us) * self._per_us)

    def _wait_s(self, left: float) -> float:
        return (1.0 - left) / (self._per_us * 1e6)

"""A circuit breaker: a server that fails is left alone, and is trusted again only by degrees."""

from __future__ import annotations

from typing import Literal

from lake.clock import Clock

State = Literal["closed", "open", "half_open"]

FAILURES_MAX = 3
"""Failures in a row that open it; a slow answer is a failure."""

GOOD_MIN = 5
"""Good answers in a row that close it again: fewer would let a server that limps flap."""

PAUSE_US_MIN = 250_000
PAUSE_US_MAX = 5_000_000
"""Time in which an open breaker lets nothing through; it doubles while tries fail."""


class Breaker:
    """Closed: all goes through. Open: nothing, for a pause. Half open: one at a time, on trial.

    allows() is asked before each call, good() or bad() told after it. Times come from the clock's
    monotonic side.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._good = 0
        self._pause_us = PAUSE_US_MIN
        self._until_us = 0
        self.state: State = "closed"
        self.opened = 0
        """How often it has opened."""

    def allows(self) -> bool:
        """Tell whether a call may be made now."""
        if self.state == "open" and self._clock.monotonic_us() >= self._until_us:
            self.state = "half_open"
            self._good = 0
        return self.state != "open"

    def good(self) -> None:
        """Note a call that was answered in time."""
        self._failures = 0
        if self.state == "half_open":
            self._good += 1
            if self._good >= GOOD_MIN:
                self.state = "closed"
                self._pause_us = PAUSE_US_MIN

    def bad(self) -> None:
        """Note a call that failed, or was answered too late."""
        self._failures += 1
        if self.state == "half_open":
            self._pause_us = min(PAUSE_US_MAX, 2 * self._pause_us)
            self._open()
        elif self._failures >= FAILURES_MAX:
            self._open()

    def _open(self) -> None:
        if self.state == "closed":
            self.opened += 1
        self.state = "open"
        self._failures = 0
        self._until_us = self._clock.monotonic_us() + self._pause_us

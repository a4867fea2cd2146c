"""Time, injected: the only place that reads a clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the rest of ticklake may ask of time."""

    def now_us(self) -> int:
        """Return UTC microseconds since the epoch; may step."""

    def monotonic_us(self) -> int:
        """Return microseconds of a clock that never steps."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's clocks."""

    def now_us(self) -> int:
        """Return UTC microseconds since the epoch."""
        return time.time_ns() // 1_000

    def monotonic_us(self) -> int:
        """Return microseconds of the machine's monotonic clock."""
        return time.monotonic_ns() // 1_000

    def sleep(self, seconds: float) -> None:
        """Wait this many seconds."""
        time.sleep(seconds)


class ManualClock:
    """A clock that moves only when told; for simulations."""

    def __init__(self, start_us: int = 1_700_000_000_000_000) -> None:
        self._now_us = start_us
        self._monotonic_us = 0

    def now_us(self) -> int:
        """Return the set time."""
        return self._now_us

    def monotonic_us(self) -> int:
        """Return the time advanced so far; steps leave it alone."""
        return self._monotonic_us

    def sleep(self, seconds: float) -> None:
        """Advance both clocks by this many seconds at once."""
        self.advance(int(seconds * 1_000_000))

    def advance(self, delta_us: int) -> None:
        """Advance both clocks."""
        self._now_us += delta_us
        self._monotonic_us += delta_us

    def step(self, delta_us: int) -> None:
        """Step the wall clock alone, as an operator or NTP does."""
        self._now_us += delta_us


def utc_from_us(us: int) -> datetime:
    """Return an aware UTC datetime, exact to the microsecond."""
    seconds, rest = divmod(us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)

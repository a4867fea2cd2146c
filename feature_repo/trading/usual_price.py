"""What an instrument usually costs: so a price that jumps is told from one that moves."""

from __future__ import annotations

from collections import deque

SAMPLE_US = 1_000_000
REACH_US = 10_000_000
SAMPLES_MAX = REACH_US // SAMPLE_US + 2


class UsualPrice:
    """The first price of each second, and the median of the last ten seconds before the newest.

    Where nothing was said in those, it is the last that was said before. A price that stays is the
    usual one once about half of the seconds say it.
    """

    __slots__ = ("_said", "second")

    def __init__(self) -> None:
        self.second = -1
        self._said: deque[tuple[int, int]] = deque(maxlen=SAMPLES_MAX)

    def note(self, price: int, time_us: int) -> None:
        """Note a price; times ascend. Only the first of a second counts: see second."""
        second = time_us // SAMPLE_US
        if second > self.second:
            self.second = second
            self._said.append((second, price))

    def value(self) -> int | None:
        """Return what is usual before the second of the newest price; None: nobody knows yet."""
        said = tuple(self._said)  # at once: another thread may note a price meanwhile
        before = [each for each in said if each[0] < self.second]
        if not before:
            return None
        since = self.second - REACH_US // SAMPLE_US
        near = sorted(price for second, price in before if second >= since)
        return near[(len(near) - 1) // 2] if near else before[-1][1]

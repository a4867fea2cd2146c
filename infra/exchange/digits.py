"""Write integers as decimal text into fixed byte columns, four digits at a time.

A NUL byte stands for "no character here"; the renderer drops all NULs at the end, so numbers come
out without padding, leading or trailing zeros.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

GROUP = 10_000
"""One table look-up writes this many values' worth of digits: four."""

FULL = 0
"""Offset of the variant 0042 -> "0042"."""

LEADING = GROUP
"""Offset of the variant 0042 -> "42", 0 -> "0": the last group of an integer."""

OPTIONAL = 2 * GROUP
"""Offset of the variant 0042 -> "42", 0 -> "": a group above the last one."""

FRACTION = 3 * GROUP
"""Offset of the variant 4200 -> "42", 0 -> "0": the first group after the point."""

REST = 4 * GROUP
"""Offset of the variant 4200 -> "42", 0 -> "": a later group after the point."""


def _table() -> npt.NDArray[np.uint32]:
    full = [b"%04d" % value for value in range(GROUP)]
    optional = [b"%d" % value if value else b"" for value in range(GROUP)]
    rest = [digits.rstrip(b"0") for digits in full]
    rows = [
        *full,
        *(digits.rjust(4, b"\0") for digits in [b"0", *optional[1:]]),
        *(digits.rjust(4, b"\0") for digits in optional),
        *(digits.ljust(4, b"\0") for digits in [b"0", *rest[1:]]),
        *(digits.ljust(4, b"\0") for digits in rest),
    ]
    return np.frombuffer(b"".join(rows), np.uint32)


class Digits:
    """The look-up table with the writers that use it.

    Every writer returns uint32 arrays, most significant group first, each holding four bytes of
    text per value.
    """

    def __init__(self) -> None:
        self._table = _table()

    def _text(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
        return self._table.take(index)

    def millis(self, value: npt.NDArray[np.int64]) -> list[npt.NDArray[np.uint32]]:
        """Write the last 12 digits of 13-digit times."""
        high = value // GROUP
        top = high // GROUP
        return [
            self._text(top % GROUP),
            self._text(high - top * GROUP),
            self._text(value - high * GROUP),
        ]

    def integer(self, value: npt.NDArray[np.int64], groups: int) -> list[npt.NDArray[np.uint32]]:
        """Write whole numbers of at most 4 * groups digits without leading zeros."""
        parts: list[npt.NDArray[np.int64]] = []
        for _ in range(groups - 1):
            high = value // GROUP
            parts.append(value - high * GROUP)
            value = high
        texts = [self._text(value + (OPTIONAL if parts else LEADING))]
        empty = value == 0
        for part in reversed(parts):
            variant = np.where(empty, OPTIONAL if part is not parts[0] else LEADING, FULL)
            texts.append(self._text(part + variant))
            empty = empty & (part == 0)
        return texts

    def fraction4(self, value: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
        """Write four decimals without trailing zeros, at least one digit."""
        return self._text(value + FRACTION)

    def fraction8(self, value: npt.NDArray[np.int64]) -> list[npt.NDArray[np.uint32]]:
        """Write eight decimals without trailing zeros, at least one digit."""
        high = value // GROUP
        low = value - high * GROUP
        return [self._text(high + np.where(low == 0, FRACTION, FULL)), self._text(low + REST)]

"""Remember which ids each instrument has had, exactly, as intervals.

Venues count their trades, so the ids of hours of trading are a handful of intervals. Membership and
insertion are vector operations; what came of late is kept apart from the rest and joined to it now
and then, so that a few ids cost the same however many are remembered. Memory is bounded: past
`intervals_max` a trim raises the floor of the busiest instruments, and an id below its instrument's
floor is "not known here": the caller asks the stores. So nothing is forgotten before the stores
have it: when that is, the caller knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

ID_BITS = 46
ID_MAX = (1 << ID_BITS) - 2
"""Largest id kept as a number (7e13); the last value stays free: instruments must not touch."""

INSTRUMENTS_MAX = 1 << 16
LATE_MAX = 4_096
"""Intervals that came of late, from which on they are joined to the rest."""

INTERVALS_MAX = 200_000
"""Intervals that a trim leaves: 3.2 MB, and a millisecond to merge."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Ids first..last (both inclusive) of an instrument that were passed over."""

    instrument: str
    first: int
    last: int


class SeenIds:
    """The ids seen, by instrument name; ids are 0..ID_MAX.

    high: instrument -> largest id stored before this memory began; at or below it nothing is known.
    """

    def __init__(
        self,
        high: Mapping[str, int] | None = None,
        *,
        intervals_max: int = INTERVALS_MAX,
        late_max: int = LATE_MAX,
    ) -> None:
        self._names: list[str] = []
        self._codes: dict[str, int] = {}
        self._floor = np.zeros(0, np.int64)
        self._high = np.full(0, -1, np.int64)
        self._starts = np.zeros(0, np.int64)
        self._ends = np.zeros(0, np.int64)
        self._late = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._intervals_max = intervals_max
        self._late_max = late_max
        for name, value in (high or {}).items():
            code = self.code(name)
            self._high[code] = value
            self._floor[code] = value + 1

    def __len__(self) -> int:
        self._join()
        return len(self._starts)

    def code(self, name: str) -> int:
        """Return the instrument's small number, minting one if it is new."""
        found = self._codes.get(name)
        if found is None:
            found = len(self._names)
            assert found < INSTRUMENTS_MAX, "instruments: more than the key has room for"
            self._codes[name] = found
            self._names.append(name)
            self._floor = np.append(self._floor, 0)
            self._high = np.append(self._high, -1)
        return found

    def high(self) -> dict[str, int]:
        """Return each instrument's largest id so far."""
        pairs = zip(self._names, self._high.tolist(), strict=True)
        return {name: value for name, value in pairs if value >= 0}

    def keys(self, codes: Int64, ids: Int64) -> Int64:
        """Return one number per (instrument, id); a smaller id of an instrument sorts before."""
        return (codes << ID_BITS) | ids

    def unknown(self, codes: Int64, ids: Int64) -> Bool:
        """Tell which ids lie below what this memory covers."""
        return ids < self._floor[codes]

    def seen(self, codes: Int64, ids: Int64) -> Bool:
        """Tell which ids are remembered."""
        keys = self.keys(codes, ids)
        return _within(self._starts, self._ends, keys) | _within(*self._late, keys)

    def holes(self, codes: Int64, ids: Int64) -> list[Hole]:
        """Return what would be passed over above each known high if these new ids were added."""
        keys = np.unique(self.keys(codes, ids))
        code, value = keys >> ID_BITS, keys & ((1 << ID_BITS) - 1)
        above = value > self._high[code]
        code, value = code[above], value[above]
        if not len(code):
            return []
        first = np.ones(len(code), np.bool_)
        first[1:] = code[1:] != code[:-1]
        before = np.empty(len(code), np.int64)
        before[1:] = value[:-1]
        before[first] = self._high[code[first]]
        jumps = np.flatnonzero((value > before + 1) & (before >= 0))
        return [
            Hole(self._names[code[i]], int(before[i]) + 1, int(value[i]) - 1)
            for i in jumps.tolist()
        ]

    def covers(self, name: str, first: int, last: int) -> bool:
        """Tell whether every id first..last (inclusive) is remembered."""
        code = self._codes.get(name)
        self._join()
        if code is None or not len(self._starts):
            return False
        low, high = (code << ID_BITS) | first, (code << ID_BITS) | last
        at = int(np.searchsorted(self._starts, low, side="right")) - 1
        return bool(at >= 0 and self._ends[at] >= high)

    def add(self, codes: Int64, ids: Int64) -> None:
        """Remember ids; any order, repeats allowed."""
        if not len(ids):
            return
        np.maximum.at(self._high, codes, ids)
        keys = np.unique(self.keys(codes, ids))
        self._late = _merged(self._late, (keys, keys))
        if len(self._late[0]) > self._late_max:
            self._join()

    def _join(self) -> None:
        """Join what came of late to the rest."""
        if len(self._late[0]):
            self._starts, self._ends = _merged((self._starts, self._ends), self._late)
            self._late = np.zeros(0, np.int64), np.zeros(0, np.int64)

    @property
    def is_full(self) -> bool:
        """Tell whether there are more intervals than a trim leaves."""
        if len(self._starts) + len(self._late[0]) > self._intervals_max:
            self._join()
        return len(self._starts) > self._intervals_max

    def trim(self) -> None:
        """Forget the lowest ids of each instrument if it is full; the stores must have them all."""
        before = 0
        while self.is_full and len(self._starts) != before:  # one interval of each stays
            before = len(self._starts)
            self._forget()

    def _forget(self) -> None:
        """Raise floors until half of the intervals are gone, oldest ids of each first."""
        codes = self._starts >> ID_BITS
        counts = np.bincount(codes, minlength=len(self._names))
        offsets = np.cumsum(counts) - counts
        rank = np.arange(len(codes)) - offsets[codes]
        keep = rank >= counts[codes] // 2
        for code in np.unique(codes[~keep]).tolist():
            gone = self._ends[(codes == code) & ~keep]
            floor = (int(gone[-1]) & ((1 << ID_BITS) - 1)) + 1
            self._floor[code] = max(int(self._floor[code]), floor)
        self._starts, self._ends = self._starts[keep], self._ends[keep]


def _within(starts: Int64, ends: Int64, keys: Int64) -> Bool:
    """Tell which keys lie in an interval."""
    if not len(starts):
        return np.zeros(len(keys), np.bool_)
    at = np.searchsorted(starts, keys, side="right") - 1
    found: Bool = (at >= 0) & (keys <= ends[at])
    return found


def _merged(one: tuple[Int64, Int64], other: tuple[Int64, Int64]) -> tuple[Int64, Int64]:
    """Return the intervals of both, sorted, those that overlap or touch as one."""
    starts = np.concatenate([one[0], other[0]])
    order = np.argsort(starts, kind="stable")
    return _coalesce(starts[order], np.concatenate([one[1], other[1]])[order])


def _coalesce(starts: Int64, ends: Int64) -> tuple[Int64, Int64]:
    """Join sorted intervals that overlap or touch."""
    reach = np.maximum.accumulate(ends)
    first = np.ones(len(starts), np.bool_)
    first[1:] = starts[1:] > reach[:-1] + 1
    at = np.flatnonzero(first)
    last = np.append(at[1:], len(starts)) - 1
    return starts[at], reach[last]

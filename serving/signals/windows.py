"""The rows of features before each one, of which versions that look at several rows make windows.

They are those that would be rows of a training, as flows.feature_windows has them in batch: of each
bar as its features first were, in time, in their order; what was corrected is seen in the row that
is spoken of alone. Who starts reads them back from the workers' stream of minutes. A window needs
all of its rows from there, so a version of N rows says nothing for N minutes of a home that is new,
or whose Redis was emptied; the batch does.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from feature_repo.feature_set import MARKET
from feature_repo.trading.market import Instrument
from lake.bars.kernel import MINUTE_US
from lake.contracts.contract import load
from serving.live.told import WINDOW_MAX

Float64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ROWS_MAX = 128
"""Rows of a series that are kept: the longest window, and what it leaves out."""

INSTRUMENTS_MAX = 5_000
"""Series that are kept, 29 KB each; of others there are no windows."""

LATE_US = (load("bars").freshness_minutes or 0) * 60_000_000 + 2 * MINUTE_US
"""How long after its end a bar's features may come for it to be a row of a training at all."""

PLACES = {name: place for place, name in enumerate(MARKET.names)}


class Past(NamedTuple):
    """Rows of a series before one, oldest first: rows by the set's features, NaN for what is none.

    degraded: which of them were computed over a drop.
    """

    values: Float64
    degraded: Bools

    def newest(self, names: Sequence[str], count: int) -> Float64 | None:
        """Return the newest rows, so many, that have all of these features; None for too few, and
        where what is degraded may be one of them.
        """
        places = [PLACES[name] for name in names]
        values = self.values[:, places]
        whole = np.flatnonzero(np.isfinite(values).all(axis=1))
        if len(whole) < count:
            return None
        lines = whole[len(whole) - count :]
        is_degraded = count and self.degraded[lines[0] :][:, places].any()
        return None if is_degraded else values[lines]


NONE = Past(np.empty((0, len(PLACES))), np.empty((0, len(PLACES)), np.bool_))


class Windows:
    """What was heard of each series, by one thread. Times are UTC microseconds; t_us: a row's end.

    values, degraded: of the set's features, in their order.
    """

    def __init__(self) -> None:
        self._series: dict[Instrument, _Series] = {}

    def keep(
        self, instrument: Instrument, t_us: int, known_us: int, values: Float64, degraded: Bools
    ) -> None:
        """Keep a row for those after it: not one that came late, again, or after a newer one."""
        series = self._series.get(instrument)
        if series is None:
            if len(self._series) >= INSTRUMENTS_MAX:
                return
            series = self._series[instrument] = _Series()
        if t_us > series.newest_us and known_us - t_us <= LATE_US:
            series.add(t_us, known_us, values, degraded)

    def forget(self, instruments: Set[Instrument]) -> None:
        """Begin anew with these."""
        for each in instruments:
            self._series.pop(each, None)

    def past(self, instrument: Instrument, t_us: int, known_us: int) -> Past:
        """Return what was there before a row, once it was known."""
        series = self._series.get(instrument)
        return NONE if series is None else series.before(t_us, known_us)


class _Series:
    def __init__(self) -> None:
        self._count = 0
        self._times = np.zeros((ROWS_MAX, 2), np.int64)
        self._values = np.empty((ROWS_MAX, len(PLACES)))
        self._degraded = np.empty((ROWS_MAX, len(PLACES)), np.bool_)

    @property
    def newest_us(self) -> int:
        return int(self._times[self._count - 1, 0]) if self._count else -1

    def before(self, t_us: int, known_us: int) -> Past:
        times = self._times[: self._count]
        there = (times[:, 0] < t_us) & (times[:, 1] <= known_us)
        return Past(self._values[: self._count][there], self._degraded[: self._count][there])

    def add(self, t_us: int, known_us: int, values: Float64, degraded: Bools) -> None:
        if self._count == ROWS_MAX:  # half goes at once, so that a row moves once in 64
            self._count = WINDOW_MAX
            for rows in (self._times, self._values, self._degraded):
                rows[:WINDOW_MAX] = rows[ROWS_MAX - WINDOW_MAX :].copy()
        self._times[self._count] = t_us, known_us
        self._values[self._count] = values
        self._degraded[self._count] = degraded
        self._count += 1

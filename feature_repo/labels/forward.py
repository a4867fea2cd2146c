"""Labels of one series of bars: the return that follows, and the first barrier that is met.

Arrays have one element a bar, in the order of time; bars may be missing, a horizon counts those
that there are. A row's label is about the time after its own bar's close. The last `horizon` rows
have none, not even those whose barrier was met already: of the newest rows only large moves would
be left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lake.errors import WrongUse

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Int8 = npt.NDArray[np.int8]

HORIZON_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Series:
    """Bars of one instrument and interval, rising in time.

    end_us: end of each bar, exclusive; available_us: when it was there to be read; microseconds
    since the epoch. WrongUse where lengths differ or times do not rise.
    """

    end_us: Int64
    available_us: Int64
    high: Float64
    low: Float64
    close: Float64

    def __post_init__(self) -> None:
        lengths = {len(each) for each in (self.available_us, self.high, self.low, self.close)}
        if lengths != {len(self.end_us)} or np.any(np.diff(self.end_us) <= 0):
            raise WrongUse("bars", "differ in length, or do not rise", "sort them, one series each")


@dataclass(frozen=True, slots=True)
class Labels:
    """Of each row that has one: `row`, its place in the series.

    value: return until the exit, 0.01 is a percent; side: -1, 0 or 1; end_us: end of the last bar
    that the label looks at; available_us: from when on it was known, never before end_us.
    """

    row: Int64
    value: Float64
    side: Int8
    end_us: Int64
    available_us: Int64


def forward_return(bars: Series, horizon: int, *, dead_band: float = 0.0) -> Labels:
    """Return close[t + horizon] / close[t] - 1 of each row; side 0 where |value| <= dead_band."""
    _check(horizon)
    row = np.arange(max(0, len(bars.end_us) - horizon))
    last = row + horizon
    value = bars.close[last] / bars.close[row] - 1.0
    side = np.where(np.abs(value) <= dead_band, 0, np.sign(value)).astype(np.int8)
    known = np.maximum(bars.available_us[row], bars.available_us[last])
    return _known(Labels(row, value, side, bars.end_us[last], known))


def triple_barrier(
    bars: Series, horizon: int, width: Float64, *, up: float = 1.0, down: float = 1.0
) -> Labels:
    """Return which barrier the price meets first: upper 1, lower -1, neither in time 0.

    Lopez de Prado, Advances in Financial Machine Learning (2018), ch. 3.4. Barriers of a row are at
    close * (1 + up * width) and close * (1 - down * width), met by a later bar's high or low; a bar
    that meets both counts as the lower one. value is the barrier's return, or the last close's.
    width: known at the row, for instance a volatility; rows where it is not above zero have none.
    """
    _check(horizon)
    count = max(0, len(bars.end_us) - horizon)
    row = np.arange(count)
    close, wide = bars.close[:count], width[:count]
    met = np.zeros(count, np.int8)
    last = row + horizon
    known = bars.available_us[:count].copy()
    for lag in range(1, horizon + 1):
        at = slice(lag, count + lag)
        still = met == 0
        known = np.where(still, np.maximum(known, bars.available_us[at]), known)
        low = still & (bars.low[at] <= close * (1.0 - down * wide))
        high = still & ~low & (bars.high[at] >= close * (1.0 + up * wide))
        met = np.where(low, -1, np.where(high, 1, met)).astype(np.int8)
        last = np.where(low | high, row + lag, last)
    ends = bars.close[last] / close - 1.0
    value = np.where(met == 1, up * wide, np.where(met == -1, -down * wide, ends))
    return _known(_of(Labels(row, value, met, bars.end_us[last], known), wide > 0.0))


def _known(labels: Labels) -> Labels:
    """Return the labels as known at their end at the earliest, those without a number left out."""
    known = np.maximum(labels.available_us, labels.end_us)
    made = Labels(labels.row, labels.value, labels.side, labels.end_us, known)
    return _of(made, np.isfinite(labels.value))


def _of(labels: Labels, kept: npt.NDArray[np.bool_]) -> Labels:
    return Labels(
        labels.row[kept],
        labels.value[kept],
        labels.side[kept],
        labels.end_us[kept],
        labels.available_us[kept],
    )


def _check(horizon: int) -> None:
    if not 1 <= horizon <= HORIZON_MAX:
        raise WrongUse(f"horizon {horizon}", "is out of bounds", f"1 to {HORIZON_MAX:,} bars")

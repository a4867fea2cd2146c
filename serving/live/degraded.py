"""What was computed over a drop: bars and features whose inputs were not all there.

Frames that may have held trades and were left out make every bar degraded that they could have
belonged to; a feature is degraded where its window holds such a bar. Quotes that were left out
touch no bar. Degraded values are still given out, marked; an audit against the lake leaves them
out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_repo.compute import TIME
from feature_repo.feature_set import FeatureSet
from lake.bars.kernel import WIDTHS_US
from serving.streams.entry import Drop

BEFORE_US = 5_000_000
"""How long before its receipt an event of a dropped frame may have happened."""

SPANS_MAX = 10_000
"""Stretches remembered; where there are more, the two oldest become one."""

EVERY = ""
"""Stands for the feed of entries that were lost whole, of which nobody knows what they held."""


class Degraded:
    """Stretches of time in which trades may be missing, by the exchange whose they were."""

    def __init__(self) -> None:
        self._spans: deque[tuple[str, int, int]] = deque()
        self._exchanges: dict[str, set[str]] = {}
        self.drops = {"quotes": 0, "trades": 0}
        """Frames that were dropped, of either kind."""
        self.version = 0
        """Rises with whatever may change an answer; another thread may ask meanwhile."""

    def heard(self, feed: str, exchanges: Collection[str]) -> None:
        """Note of which exchanges a feed tells."""
        known = self._exchanges.setdefault(feed, set())
        if not known.issuperset(exchanges):
            known.update(exchanges)
            self.version += 1

    def note(self, drop: Drop) -> None:
        """Note frames that were left out."""
        self.drops[drop.kind] += drop.count
        if drop.kind == "trades":
            self._add(drop.feed, drop.from_us - BEFORE_US, drop.to_us)
            self.version += 1  # once it is noted: who asked meanwhile asks again

    def lost(self, from_us: int, to_us: int) -> None:
        """Note entries that are gone, of whatever feeds, received in this stretch (inclusive)."""
        self._add(EVERY, from_us - BEFORE_US, to_us)
        self.version += 1

    @property
    def any(self) -> bool:
        """Tell whether anything may be missing."""
        return bool(self._spans)

    def of_bars(self, bars: pa.Table) -> npt.NDArray[np.bool_]:
        """Tell which bars trades may be missing from. bars: exchange, interval, event_time."""
        found = np.zeros(bars.num_rows, np.bool_)
        if not self._spans or not bars.num_rows:
            return found
        starts, ends = _bounds(bars)
        exchange = np.asarray(bars["exchange"].to_pylist(), object)
        for feed, from_us, to_us in tuple(self._spans):
            known = self._exchanges.get(feed)
            mine = np.isin(exchange, list(known)) if known else True
            found |= (starts <= to_us) & (ends > from_us) & mine
        return found

    def of_features(
        self, bars: pa.Table, feature_set: FeatureSet, rows: int
    ) -> dict[str, npt.NDArray[np.bool_]]:
        """Tell of the last rows of one series which features are degraded, by name.

        bars: the series' bars by time, with lookback - 1 before those rows where they are there.
        """
        bad = self.of_bars(bars)
        if not bad.any():
            return {}
        before = np.concatenate([[0], np.cumsum(bad)])
        last = np.arange(bars.num_rows - rows, bars.num_rows) + 1
        return {
            each.name: before[last] > before[np.maximum(0, last - each.lookback)]
            for each in feature_set.features
        }

    def _add(self, feed: str, from_us: int, to_us: int) -> None:
        last = self._spans[-1] if self._spans else None
        if last and last[0] == feed and from_us <= last[2]:
            self._spans[-1] = (feed, min(from_us, last[1]), max(to_us, last[2]))
            return
        self._spans.append((feed, from_us, to_us))
        if len(self._spans) > SPANS_MAX:
            first, second = self._spans.popleft(), self._spans.popleft()
            feed = first[0] if first[0] == second[0] else EVERY
            self._spans.appendleft((feed, min(first[1], second[1]), max(first[2], second[2])))


def _bounds(bars: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    starts = bars["event_time"].cast(TIME).cast(pa.int64()).to_numpy()
    widths = np.asarray([WIDTHS_US[name] for name in bars["interval"].to_pylist()], np.int64)
    return starts, starts + widths

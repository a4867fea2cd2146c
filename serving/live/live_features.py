"""Features of bars as they come: feature_repo.versions over the last bars of what changed.

Every feature is a function of its series' last bars and of nothing else, bit for bit, wherever the
array begins (feature_repo.kernels). So the last bars of a series are kept, and of these the rows
are made anew that a closed or corrected bar concerns.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.compute import TIME, features_of
from feature_repo.feature_set import FeatureSet
from feature_repo.versions import SERIES, computed
from lake.bars.kernel import WIDTHS_US
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from serving.live.degraded import Degraded
from serving.live.live_bars import CHANGE, CLOSED, CORRECTED, BarStep

INTERVALS = ("1m", "5m", "1h", "1d")
"""Intervals that have features in the lake."""

CHUNKS_MAX = 16
"""Pieces of memory that a series of minutes is in at most; each costs time whenever they are used.
Longer series are in one: their pieces would keep, for hours, what came with them in one table."""

BEHIND = 64
"""Bars of a series, before the newest, that a correction may reach; it is an hour of minutes."""

SCHEMA = arrow_schema(load("bars"))
Key = tuple[str, str, str, str]


class LiveFeatures:
    """The last bars of every series; take() gives the rows that a step changes."""

    def __init__(self, feature_set: FeatureSet, held: pa.Table | None = None) -> None:
        self._set = feature_set
        self._rows_max = feature_set.lookback + BEHIND
        self._bars: dict[Key, pa.Table] = {}
        self._none = _nothing(feature_set)
        self._columns = _columns(feature_set)
        self._no_bar = SCHEMA.empty_table().select(self._columns)
        self._left: list[pa.Table | None] = []
        """Tables that are needed no more: to let them go takes a millisecond, left to prepare()."""
        self._ready: tuple[BarStep, pa.Table, dict[Key, pa.Table]] | None = None
        for key, bars in _by_series(held if held is not None else SCHEMA.empty_table()):
            last = bars.select(self._columns).slice(max(0, bars.num_rows - self._rows_max))
            self._bars[key] = last.combine_chunks()

    def take(self, step: BarStep) -> pa.Table:
        """Return the rows of features that the step's bars make or change, by series and time.

        Columns as of feature_repo.versions.computed, and `change`: closed for the row of a bar that
        has closed, corrected for one that a late bar changes. Empty where no bar is concerned.
        """
        if self._ready is None or self._ready[0] is not step:
            self.prepare(step)
        assert self._ready is not None
        _, rows, bars = self._ready
        self._left = [self._bars.get(key) for key in bars]
        self._bars |= bars
        self._ready = None
        return rows

    def prepare(self, step: BarStep) -> pa.Table:
        """Make what take() of this step returns; another thread may, while nobody takes."""
        self._left = []
        rows, bars = self._made(step)
        self._ready = step, rows, bars
        return rows

    def _made(self, step: BarStep) -> tuple[pa.Table, dict[Key, pa.Table]]:
        """Return the rows of a step, and the last bars of the series that it changes."""
        news: dict[Key, pa.Table] = {}
        touched: list[tuple[Key, pa.Table, int]] = []
        put = step.put.select([*self._columns, CHANGE])
        changed = dict(_by_series(put.drop_columns([CHANGE])))
        closed = dict(_by_series(put.filter(pc.equal(put[CHANGE], CLOSED))))
        gone = dict(_by_series(step.gone))
        for key in sorted(changed.keys() | gone.keys()):
            bars = self._merged(key, changed.get(key), gone.get(key))
            times = [_times(each[key]) for each in (changed, gone) if key in each]
            first_us = min(int(each.min()) for each in times)
            before = int(np.searchsorted(_times(bars), first_us))
            start = max(0, before - (self._set.lookback - 1))
            touched.append((key, bars.slice(start), before - start))
            last = bars.slice(max(0, bars.num_rows - self._rows_max))
            news[key] = _in_few(last, CHUNKS_MAX if key[3] == INTERVALS[0] else 1)
        if not touched:
            return self._none, news
        return self._rows(touched, closed), news

    def degraded(self, rows: pa.Table, drops: Degraded) -> pa.Array:
        """Return for each row of take() the names of the features that rest on a degraded bar.

        Of rows of prepare() too, until they are taken.
        """
        held = self._bars if self._ready is None else self._bars | self._ready[2]
        found: dict[tuple[Key, int], list[str]] = {}
        ends, series = _times(rows), list(zip(*(rows[n].to_pylist() for n in SERIES), strict=True))
        for key in sorted(set(series)):
            bars = held[key]
            bad = drops.of_features(bars, self._set, bars.num_rows)
            at = _times(bars) + WIDTHS_US[key[3]]
            for name, which in bad.items():
                for end_us in at[which].tolist():
                    found.setdefault((key, end_us), []).append(name)
        names = [found.get(each, []) for each in zip(series, ends.tolist(), strict=True)]
        return pa.array(names, pa.list_(pa.string()))

    def _rows(
        self, touched: list[tuple[Key, pa.Table, int]], closed: dict[Key, pa.Table]
    ) -> pa.Table:
        """Return the rows from a place on of each series, which are made of what is before it."""
        made = computed(pa.concat_tables([bars for _, bars, _ in touched]), self._set)
        every = _times(made)
        places, is_news, at = [], [], 0
        for key, bars, first in touched:
            mine = np.arange(at + first, at + bars.num_rows)
            at += bars.num_rows
            ends = _times(closed[key]) + WIDTHS_US[key[3]] if key in closed else np.zeros(0)
            places.append(mine)
            is_news.append(np.isin(every[mine], ends))
        chosen = np.concatenate(places)
        if not len(chosen):
            return self._none
        change = np.where(np.concatenate(is_news), CLOSED, CORRECTED)
        rows = made.take(pa.array(chosen)).append_column(CHANGE, pa.array(change, pa.string()))
        return rows.combine_chunks()

    def _merged(self, key: Key, put: pa.Table | None, gone: pa.Table | None) -> pa.Table:
        """Return the bars of a series with those put in their places, and without those gone."""
        bars = self._bars.get(key, self._no_bar)
        if put is not None and gone is None and _is_beyond(put, bars):
            return pa.concat_tables([bars, put.cast(self._no_bar.schema)])
        leaving = [_times(each) for each in (put, gone) if each is not None]
        stays = ~np.isin(_times(bars), np.concatenate(leaving))
        if not stays.all():
            bars = bars.filter(pa.array(stays))
        if put is None:
            return bars
        joined = pa.concat_tables([bars, put.cast(self._no_bar.schema)])
        times = _times(joined)
        return joined if (np.diff(times) > 0).all() else joined.take(pa.array(np.argsort(times)))


def _is_beyond(put: pa.Table, bars: pa.Table) -> bool:
    """Tell whether bars by rising time come after all of the others."""
    times = _times(put)
    is_rising = bool((np.diff(times) > 0).all())
    return is_rising and (not len(bars) or _times(bars.slice(len(bars) - 1))[0] < times[0])


def _in_few(bars: pa.Table, chunks_max: int) -> pa.Table:
    """Return bars in so many pieces of memory at most, or in one; each new bar adds one."""
    is_many = bars.num_rows and bars["event_time"].num_chunks > chunks_max
    return bars.combine_chunks() if is_many else bars


def _columns(feature_set: FeatureSet) -> list[str]:
    """Return the columns of bars that features are made of, and those that say whose they are."""
    inputs = {name for each in feature_set.features for name in each.inputs}
    needed = {*SERIES, "event_time", "received_time", *inputs}
    return [name for name in SCHEMA.names if name in needed]


def _nothing(feature_set: FeatureSet) -> pa.Table:
    """Return no row, of the columns that there are otherwise."""
    rows = features_of(SCHEMA.empty_table(), feature_set)
    for name in ("live_time", "history_time"):
        rows = rows.append_column(name, pa.array([], TIME))
    return rows.append_column(CHANGE, pa.array([], pa.string()))


def _by_series(bars: pa.Table) -> Iterable[tuple[Key, pa.Table]]:
    """Yield series and its bars by time; those of intervals without features are left out."""
    if not bars.num_rows:
        return
    bars = bars.filter(pc.is_in(bars["interval"], pa.array(INTERVALS)))
    bars = bars.sort_by([(name, "ascending") for name in (*SERIES, "event_time")])
    code = np.zeros(bars.num_rows, np.int64)
    for name in SERIES:
        encoded = bars[name].combine_chunks().dictionary_encode()
        code = code * max(1, len(encoded.dictionary)) + encoded.indices.to_numpy()
    cuts = [0, *(np.flatnonzero(np.diff(code)) + 1).tolist(), bars.num_rows]
    for start, stop in pairwise(cuts):
        if stop > start:
            rows = bars.slice(start, stop - start)
            yield _key(rows), rows


def _key(rows: pa.Table) -> Key:
    ticker, exchange, market, interval = (str(rows[name][0].as_py()) for name in SERIES)
    return ticker, exchange, market, interval


def _times(rows: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = (
        rows["event_time"].cast(TIME).cast(pa.int64()).to_numpy()
    )
    return found

"""Values of features from bars: one function for years at once and for the last bar live.

Live is the same call on a series' last `feature_set.lookback` bars. Prices become float64 here and
nowhere else: another engine's cast of a decimal may round otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_repo.feature import END_S
from feature_repo.feature_set import FeatureSet
from feature_repo.kernels import Values
from lake.bars.kernel import SERIES, WIDTHS_US
from lake.errors import BadInput

KEY = (*SERIES, "interval", "event_time")
"""A row of features: whose, of which interval, known from when on at the earliest."""

TIME = pa.timestamp("us", tz="UTC")
BLOCK_ROWS = 32_768
"""Rows worked on at once: their columns stay in the processor's cache. Changes no bit."""


def features_of(
    bars: pa.Table, feature_set: FeatureSet, *, block_rows: int = BLOCK_ROWS
) -> pa.Table:
    """Return a row of features per bar, in the bars' order.

    bars: columns ticker, exchange, market, interval, event_time (the bucket's start) and what the
    features name; each series in one piece, by rising time, no bar twice. Columns: KEY, event_time
    being the bar's end (timestamp[us, UTC]), then a float64 per feature, null where the series has
    fewer bars than its lookback, where a value that the formula takes is not there, NaN or infinite
    (vwap_distance_20 takes one close, and 20 volumes), and where the formula has no value.
    Raises BadInput when bars are in disorder, of an unknown interval, or lack a column.
    """
    position = _positions(bars)
    ends_us = ends_of(bars)
    inputs = _inputs(bars, feature_set, ends_us)
    values = _values(inputs, feature_set, bars.num_rows, block_rows)
    columns = {name: bars[name] for name in KEY[:-1]}
    columns["event_time"] = pa.array(ends_us).cast(TIME)
    for feature in feature_set.features:
        found = values[feature.name]
        absent = ~np.isfinite(found) | (position < feature.lookback - 1)
        columns[feature.name] = pa.array(found, mask=absent)
    return pa.table(columns)


def ends_of(bars: pa.Table) -> npt.NDArray[np.int64]:
    """Return the bars' ends in microseconds since the epoch."""
    intervals = bars["interval"].combine_chunks().dictionary_encode()
    unknown = sorted(set(intervals.dictionary.to_pylist()) - set(WIDTHS_US))
    if unknown:
        raise BadInput("bars", f"interval {unknown[0]} is unknown", f"one of {list(WIDTHS_US)}")
    widths = np.array([WIDTHS_US[name] for name in intervals.dictionary.to_pylist()], np.int64)
    starts = bars["event_time"].cast(TIME).cast(pa.int64()).to_numpy()
    if not len(starts):
        return np.zeros(0, np.int64)
    return np.asarray(starts + widths[intervals.indices.to_numpy()])


def series_starts(bars: pa.Table) -> npt.NDArray[np.int64]:
    """Return the first row of each series; BadInput when one comes in two pieces."""
    if not bars.num_rows:
        return np.zeros(0, np.int64)
    code = np.zeros(bars.num_rows, np.int64)
    for name in KEY[:-1]:
        encoded = bars[name].combine_chunks().dictionary_encode()
        code = code * len(encoded.dictionary) + encoded.indices.to_numpy()
    starts = np.flatnonzero(np.concatenate([[True], code[1:] != code[:-1]]))
    if len(np.unique(code[starts])) < len(starts):
        raise BadInput("bars", "a series comes in two pieces", "sort them by series, then by time")
    return starts


def _positions(bars: pa.Table) -> npt.NDArray[np.int64]:
    """Return each row's place in its series, from 0; BadInput where time does not rise."""
    starts = series_starts(bars)
    begun = np.zeros(bars.num_rows, np.int64)
    begun[starts] = starts
    position = np.arange(bars.num_rows) - np.maximum.accumulate(begun)
    times = bars["event_time"].cast(TIME).cast(pa.int64()).to_numpy()
    if (np.diff(times)[position[1:] > 0] <= 0).any():
        raise BadInput("bars", "a series goes back in time", "sort them by series, then by time")
    return position


def _needed(feature_set: FeatureSet) -> set[str]:
    return {name for each in feature_set.features for name in each.inputs} & feature_set.given


def _inputs(
    bars: pa.Table, feature_set: FeatureSet, ends_us: npt.NDArray[np.int64]
) -> dict[str, Values]:
    needed = _needed(feature_set)
    absent = sorted(needed - {END_S} - set(bars.column_names))
    if absent:
        raise BadInput("bars", f"column {absent[0]} is not there", "select all of the bar")
    inputs = {
        name: bars[name].cast(pa.float64(), safe=False).to_numpy() for name in needed - {END_S}
    }
    # a window with an infinite value has none, as one with a NaN
    inputs = {name: np.where(np.isfinite(each), each, np.nan) for name, each in inputs.items()}
    return {**inputs, END_S: ends_us / 1e6}


def _values(
    inputs: Mapping[str, Values], feature_set: FeatureSet, rows: int, block_rows: int
) -> dict[str, Values]:
    """Run the functions block by block, each with the bars before that it looks back on.

    A window that reaches into another series gives a number of no meaning, which the caller masks.
    """
    out = {name: np.empty(rows) for name in feature_set.names}
    before = feature_set.lookback - 1
    with np.errstate(all="ignore"):
        for first in range(0, rows, block_rows):
            last = min(first + block_rows, rows)
            start = max(first - before, 0)
            known = {name: each[start:last] for name, each in inputs.items()}
            for feature in feature_set.features:
                found = feature.function(*(known[name] for name in feature.inputs))
                known[feature.name] = found
                out[feature.name][first:last] = found[first - start :]
    return out

"""An asset's scores beside the bars of its tickers: exact sums over a stretch of the clock.

Sums are of whole units of the contract's last place, so that a difference of two running sums is
what adding the window up would give, from whichever start.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.compute import TIME, ends_of
from feature_repo.features.sentiment import DAY_S, HOUR_S
from lake.features.pairs import asset_of

WINDOWS_S = {"1h": HOUR_S, "24h": DAY_S}
REACH_US = DAY_S * 1_000_000
"""A bar's scores came less than so long before its end."""

SCORE = pa.decimal128(12, 10)
WHOLE = pa.scalar(10**10, pa.decimal128(11, 0))

Whole = npt.NDArray[np.int64]


def with_scores(bars: pa.Table, scores: pa.Table) -> pa.Table:
    """Return the bars from their asset's first score on, with what SCORE_INPUTS names.

    bars: as features_of takes them; scores: asset, event_time, received_time, sentiment_score, in
    any order: those of 24 hours before the first bar's end, and each asset's first. A bar's
    received_time becomes that of the last of its scores, where that came later.
    """
    ends = ends_of(bars)
    tickers = bars["ticker"].combine_chunks().dictionary_encode()
    assets = [asset_of(each) for each in tickers.dictionary.to_pylist()]
    of_bar = tickers.indices.to_numpy()
    found = {f"{name}_{window}": np.zeros(len(ends), np.int64) for window, name in COLUMNS}
    since, received = np.full(len(ends), np.nan), _microseconds(bars["received_time"]).copy()
    scores = scores.sort_by("event_time")
    for asset in set(assets) & set(pc.unique(scores["asset"]).to_pylist()):
        mine = scores.filter(pc.equal(scores["asset"], asset))
        codes = [code for code, each in enumerate(assets) if each == asset]
        rows = np.flatnonzero(np.isin(of_bar, codes))
        times, came = (_microseconds(mine[name]) for name in ("event_time", "received_time"))
        units = pc.multiply(mine["sentiment_score"].cast(SCORE), WHOLE).cast(pa.int64()).to_numpy()
        total = np.concatenate([[0], np.cumsum(units)])
        last = first = np.searchsorted(times, ends[rows], "right")
        for window, width_s in WINDOWS_S.items():
            first = np.searchsorted(times, ends[rows] - width_s * 1_000_000, "right")
            found[f"score_units_{window}"][rows] = total[last] - total[first]
            found[f"scores_{window}"][rows] = last - first
        since[rows] = times[0] / 1e6
        received[rows] = np.maximum(received[rows], _largest(came, first, last))
    at = bars.column_names.index("received_time")
    bars = bars.set_column(at, "received_time", pa.array(received).cast(TIME))
    for name, values in {**found, "scores_since_s": since}.items():
        bars = bars.append_column(name, pa.array(values))
    return bars.filter(pa.array(since <= ends / 1e6))


COLUMNS = tuple((window, name) for window in WINDOWS_S for name in ("score_units", "scores"))


def _microseconds(column: pa.ChunkedArray) -> Whole:
    return np.asarray(column.cast(TIME).cast(pa.int64()).to_numpy())


def _largest(values: Whole, first: Whole, last: Whole) -> Whole:
    """Return the largest of values[first:last] for each pair; 0 where there is none.

    By the largest of every stretch of a power of two: two of them cover any stretch.
    """
    out = np.zeros(len(first), np.int64)
    width, longest = 1, values
    counts = last - first
    while width <= len(values):
        rows = np.flatnonzero((counts >= width) & (counts < 2 * width))
        out[rows] = np.maximum(longest[first[rows]], longest[last[rows] - width])
        longest = np.maximum(longest[:-width], longest[width:])
        width *= 2
    return out

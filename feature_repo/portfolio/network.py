"""The network of assets: correlation of each two, who leads whom, and clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

Floats = npt.NDArray[np.float64]

LAGS_MAX = 5
"""Bars by which one may lead another."""

OVERLAP_MIN = 20
"""Returns of both that a correlation needs; a pair with fewer is no edge."""

CUT = 0.5
"""Correlation below which two clusters stay apart: at distance sqrt((1 - CUT) / 2)."""

PLACES = 8


@dataclass(frozen=True, slots=True)
class Edge:
    """Two assets, by place in the names, first < second.

    lag: bars by which the first leads, where the absolute correlation is largest; the shortest of
    equals. bars: returns of both at lag 0.
    """

    first: int
    second: int
    bars: int
    correlation: float
    lag: int
    lag_correlation: float


def log_returns(closes: Floats) -> Floats:
    """Return ln(close) - ln(close before), one row less; closes: bars x assets, NaN for none.

    A return needs both closes.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.where(closes > 0, closes, np.nan))
    return np.asarray(np.diff(logs, axis=0))


def correlations(returns: Floats, lag: int = 0) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return Pearson's correlation of each column with each, and how many returns both have.

    Element (i, j): of i `lag` bars before j; of what both have alone. NaN where fewer than
    OVERLAP_MIN, or where one of them does not move.
    """
    earlier, later = returns[: len(returns) - lag], returns[lag:]
    there_x, there_y = (~np.isnan(each) for each in (earlier, later))
    x, y = np.where(there_x, earlier, 0.0), np.where(there_y, later, 0.0)
    in_x, in_y = there_x.astype(np.float64), there_y.astype(np.float64)
    count = in_x.T @ in_y
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_x, mean_y = (x.T @ in_y) / count, (in_x.T @ y) / count
        covariance = (x.T @ y) / count - mean_x * mean_y
        variance_x = (x**2).T @ in_y / count - mean_x**2
        variance_y = in_x.T @ (y**2) / count - mean_y**2
        found = covariance / np.sqrt(variance_x * variance_y)
    still = (variance_x <= 1e-18) | (variance_y <= 1e-18) | (count < OVERLAP_MIN)
    return np.where(still, np.nan, np.clip(found, -1, 1)), count.astype(np.int64)


def edges(returns: Floats, lags_max: int = LAGS_MAX) -> list[Edge]:
    """Return an edge for each pair that has enough returns, by place."""
    by_lag = {0: correlations(returns)[0]}
    for lag in range(1, lags_max + 1):
        if lag < len(returns):
            leads = correlations(returns, lag)[0]
            by_lag[lag], by_lag[-lag] = leads, leads.T
    now, count = correlations(returns)
    order = sorted(by_lag, key=lambda lag: (abs(lag), lag < 0))
    stack = np.round(np.stack([by_lag[lag] for lag in order]), PLACES)
    best = np.argmax(np.nan_to_num(np.abs(stack), nan=-1.0), axis=0)
    first, second = np.nonzero(np.triu(~np.isnan(now), 1))
    return [
        Edge(
            i,
            j,
            int(count[i, j]),
            round(float(now[i, j]), PLACES),
            order[int(best[i, j])],
            float(stack[best[i, j], i, j]),
        )
        for i, j in zip(first.tolist(), second.tolist(), strict=True)
    ]


def clusters(matrix: Floats, cut: float = CUT) -> list[int]:
    """Return the cluster of each asset: 1, 2, 3, in the order in which they are first met.

    Average linkage of the distance sqrt((1 - correlation) / 2) (Mantegna 1999, scaled to 1); an
    unknown correlation counts as none.
    """
    if len(matrix) < 2:
        return [1] * len(matrix)
    known = np.nan_to_num((matrix + matrix.T) / 2, nan=0.0)
    np.fill_diagonal(known, 1.0)
    distance = np.sqrt(np.clip((1 - known) / 2, 0, 1))
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="average")
    raw = fcluster(tree, t=float(np.sqrt((1 - cut) / 2)), criterion="distance")
    return in_order(raw.tolist())


def in_order(labels: Sequence[int]) -> list[int]:
    """Return labels as 1, 2, 3 in the order in which they first come."""
    places: dict[int, int] = {}
    return [places.setdefault(label, len(places) + 1) for label in labels]

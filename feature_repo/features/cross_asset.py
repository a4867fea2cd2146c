"""How an asset moves with the reference, bitcoin in the same quote currency on the same venue.

Rows are the bars that both have: a bucket in which one of them did not trade is stepped over, so
that a return never spans another stretch of time than the one beside it.
"""

from __future__ import annotations

import numpy as np

from feature_repo.feature import Feature
from feature_repo.features.trend import SIMPLE
from feature_repo.kernels import Values, lagged, log, rolling_products

WINDOW = 60
"""Returns that correlation and beta are of."""

CLOSE, REFERENCE_CLOSE = "close", "reference_close"
COMMON_INPUTS = frozenset((CLOSE, REFERENCE_CLOSE))
"""Inputs that a common bar gives: the asset's close, and the reference's of the same bucket."""

PEARSON = "Pearson, 1895, as numpy.corrcoef"
SHARPE = "Sharpe, Capital Asset Prices, 1964; least squares, as numpy.polyfit of degree 1"


def common_return(close: Values) -> Values:
    """Return the logarithm of the close over that of the common bar before."""
    return log(close / lagged(close, 1))


def correlation_60(own: Values, reference: Values) -> Values:
    """Return how far 60 returns of both are on one line.

    In [-1, 1]: what rounding puts beyond is put back. Null where one of them did not move at all.
    """
    own_squares, products, reference_squares = rolling_products(own, reference, WINDOW)
    found = products / (np.sqrt(own_squares) * np.sqrt(reference_squares))
    return np.asarray(np.minimum(np.maximum(found, -1.0), 1.0))


def beta_60(own: Values, reference: Values) -> Values:
    """Return the slope of 60 returns against the reference's; null where that did not move."""
    _, products, reference_squares = rolling_products(own, reference, WINDOW)
    return products / reference_squares


CROSS_ASSET = (
    Feature(
        "common_return",
        1,
        (CLOSE,),
        2,
        "ln(c[t] / c[t-1]), c the close in common bars",
        SIMPLE,
        common_return,
    ),
    Feature(
        "reference_return",
        1,
        (REFERENCE_CLOSE,),
        2,
        "ln(r[t] / r[t-1]), r the reference's close in common bars",
        SIMPLE,
        common_return,
    ),
    Feature(
        "correlation_60",
        1,
        ("common_return", "reference_return"),
        WINDOW + 1,
        "sum of (x - mean)(y - mean) / root of the sums of their squares, 60 returns each",
        PEARSON,
        correlation_60,
    ),
    Feature(
        "beta_60",
        1,
        ("common_return", "reference_return"),
        WINDOW + 1,
        "sum of (x - mean)(y - mean) / sum of (y - mean)^2, y the reference's 60 returns",
        SHARPE,
        beta_60,
    ),
)

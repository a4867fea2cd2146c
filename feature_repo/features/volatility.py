"""How far the price moves: Bollinger's bands, ATR, realised volatility."""

from __future__ import annotations

import numpy as np

from feature_repo.feature import Feature
from feature_repo.kernels import Values, exponential_mean, lagged, rolling_deviation, rolling_sum

ATR_BARS = 512
"""True ranges that the mean takes; (13/14)^512 = 3.3e-17 of it is cut off."""

BOLLINGER = "Bollinger, Bollinger on Bollinger Bands, 2001; 20 bars, 2 deviations, as TA-Lib"
WILDER = "Wilder, New Concepts in Technical Trading Systems, 1978; as TA-Lib once its seed is gone"
REALISED = "Andersen and Bollerslev, Answering the Skeptics, 1998"


def deviation_20(close: Values) -> Values:
    """Return the standard deviation of 20 closes (of the population), in quote currency."""
    return rolling_deviation(close, 20)


def bollinger_upper(middle: Values, deviation: Values) -> Values:
    """Return the mean and two deviations above it."""
    return middle + 2.0 * deviation


def bollinger_lower(middle: Values, deviation: Values) -> Values:
    """Return the mean less two deviations."""
    return middle - 2.0 * deviation


def bollinger_percent_b(close: Values, lower: Values, upper: Values) -> Values:
    """Return where the close stands: 0 at the lower band, 1 at the upper; null if they meet."""
    return (close - lower) / (upper - lower)


def bollinger_width(middle: Values, lower: Values, upper: Values) -> Values:
    """Return how far the bands are apart, as a share of the mean."""
    return (upper - lower) / middle


def atr_14(high: Values, low: Values, close: Values) -> Values:
    """Return the mean true range with weight 1/14, in quote currency; cut off at 3.3e-17."""
    before = lagged(close, 1)
    true_range = np.maximum(high, before) - np.minimum(low, before)
    return exponential_mean(true_range, 1 / 14, ATR_BARS)


def realised_volatility_30(log_return: Values) -> Values:
    """Return the root of the sum of 30 squared log returns: per 30 bars, not per year."""
    return np.asarray(np.sqrt(rolling_sum(log_return * log_return, 30)))


VOLATILITY = (
    Feature(
        "deviation_20",
        1,
        ("close",),
        20,
        "root of the mean of (c[t-k] - sma_20[t])^2, k < 20",
        BOLLINGER,
        deviation_20,
    ),
    Feature(
        "bollinger_upper",
        1,
        ("sma_20", "deviation_20"),
        20,
        "sma_20 + 2 deviation_20",
        BOLLINGER,
        bollinger_upper,
    ),
    Feature(
        "bollinger_lower",
        1,
        ("sma_20", "deviation_20"),
        20,
        "sma_20 - 2 deviation_20",
        BOLLINGER,
        bollinger_lower,
    ),
    Feature(
        "bollinger_percent_b",
        1,
        ("close", "bollinger_lower", "bollinger_upper"),
        20,
        "(c - lower) / (upper - lower)",
        BOLLINGER,
        bollinger_percent_b,
    ),
    Feature(
        "bollinger_width",
        1,
        ("sma_20", "bollinger_lower", "bollinger_upper"),
        20,
        "(upper - lower) / sma_20",
        BOLLINGER,
        bollinger_width,
    ),
    Feature(
        "atr_14",
        1,
        ("high", "low", "close"),
        ATR_BARS + 1,
        "sum of (13/14)^k TR[t-k], k < 512, over the sum of the weights;"
        " TR = max(h, c[t-1]) - min(l, c[t-1])",
        WILDER,
        atr_14,
    ),
    Feature(
        "realised_volatility_30",
        1,
        ("log_return_1",),
        31,
        "root of the sum of log_return_1[t-k]^2, k < 30",
        REALISED,
        realised_volatility_30,
    ),
)

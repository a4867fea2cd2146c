"""How one-sided moves were: RSI, by simple means and by Wilder's."""

from __future__ import annotations

import numpy as np

from feature_repo.feature import Feature
from feature_repo.kernels import Values, decayed_sum, lagged, rolling_sum

WILDER_BARS = 512
"""Moves that Wilder's mean takes; (13/14)^512 = 3.3e-17 of it is cut off."""


def rsi_14(close: Values) -> Values:
    """Return 100 times the rises' share of the last 14 moves; simple means, also named Cutler's.

    In [0, 100]; null where no close moved.
    """
    up, down = moves(close)
    return share(rolling_sum(up, 14), rolling_sum(down, 14))


def rsi_14_wilder(close: Values) -> Values:
    """Return 100 times the rises' share of moves, smoothed with weight 1/14; cut off at 3.3e-17.

    In [0, 100]; null where no close moved.
    """
    up, down = moves(close)
    return share(decayed_sum(up, 13 / 14, WILDER_BARS), decayed_sum(down, 13 / 14, WILDER_BARS))


def moves(close: Values) -> tuple[Values, Values]:
    """Return the rises and the falls against the bar before, both 0 or above."""
    change = close - lagged(close, 1)
    return np.maximum(change, 0.0), np.maximum(-change, 0.0)


def share(up: Values, down: Values) -> Values:
    """Return 100 * up / (up + down), which is 100 - 100 / (1 + up / down)."""
    return 100.0 * up / (up + down)


MOMENTUM = (
    Feature(
        "rsi_14",
        1,
        ("close",),
        15,
        "100 U / (U + D), U and D the sums of the rises and falls of the last 14 moves",
        "RRRalgorithms; Cutler's variant of Wilder's RSI",
        rsi_14,
    ),
    Feature(
        "rsi_14_wilder",
        1,
        ("close",),
        WILDER_BARS + 1,
        "100 U / (U + D), U and D the sums of (13/14)^k times rise and fall k bars ago, k < 512",
        "Wilder, New Concepts in Technical Trading Systems, 1978; as TA-Lib and StockCharts",
        rsi_14_wilder,
    ),
)

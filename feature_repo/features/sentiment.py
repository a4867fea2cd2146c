"""What was written of an asset lately: means of its scores over a stretch of the clock.

A score counts the same whoever gave it; sources are not on one scale, so a model should see one
whose mixture does not change. The sums are exact decimals (feature_repo/scores.py).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from feature_repo.feature import END_S, Feature
from feature_repo.kernels import Values

HOUR_S, DAY_S = 3_600, 86_400
PLAIN_MEAN = "any textbook; the windows are the project's"

SCORE_UNITS = 1e10
"""Units of the contract's last place in a score of 1: sums of them are whole, so exact."""

SCORE_INPUTS = frozenset(
    (END_S, "score_units_1h", "scores_1h", "score_units_24h", "scores_24h", "scores_since_s")
)
"""Inputs that a bar with its asset's scores gives: of (end - window, end], and the first of all."""


def sentiment_mean_1h(units: Values, scores: Values, since_s: Values, end_s: Values) -> Values:
    """Return the mean score of the hour to the bar's end.

    In [-1, 1]; null where no score fell into it, and in the asset's first hour with scores.
    """
    return _mean(units, scores, end_s - since_s >= HOUR_S)


def sentiment_mean_24h(units: Values, scores: Values, since_s: Values, end_s: Values) -> Values:
    """Return the mean score of the 24 hours to the bar's end.

    In [-1, 1]; null where no score fell into them, and in the asset's first 24 hours with scores.
    """
    return _mean(units, scores, end_s - since_s >= DAY_S)


def sentiment_change(short: Values, long: Values) -> Values:
    """Return the last hour's mean less that of 24 hours, in [-2, 2]."""
    return short - long


def _mean(units: Values, scores: Values, whole: npt.NDArray[np.bool_]) -> Values:
    return np.where(whole, units / (scores * SCORE_UNITS), np.nan)


SENTIMENT = (
    Feature(
        "sentiment_mean_1h",
        1,
        ("score_units_1h", "scores_1h", "scores_since_s", END_S),
        1,
        "mean of the asset's scores in (end - 1 h, end]",
        PLAIN_MEAN,
        sentiment_mean_1h,
    ),
    Feature(
        "sentiment_mean_24h",
        1,
        ("score_units_24h", "scores_24h", "scores_since_s", END_S),
        1,
        "mean of the asset's scores in (end - 24 h, end]",
        PLAIN_MEAN,
        sentiment_mean_24h,
    ),
    Feature(
        "sentiment_change",
        1,
        ("sentiment_mean_1h", "sentiment_mean_24h"),
        1,
        "sentiment_mean_1h - sentiment_mean_24h",
        "ours",
        sentiment_change,
    ),
)

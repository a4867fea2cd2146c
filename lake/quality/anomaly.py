"""Bars that no rule foresaw: how far a bar lies from the usual ones, all its sides taken together.

Each bar is described by FEATURES against the bars before it, so that one model serves every series.
The model is a centre and an inverse covariance, both robust (minimum covariance determinant,
Rousseeuw 1984; Rousseeuw and Van Driessen 1999), and a squared distance (Mahalanobis) that
LIMIT_QUANTILE of the bars of its training keep. It is chosen over an isolation forest since it is
twenty numbers that a person can read, compare and keep in a table, since a database scores it
where the bars are, and since it says which side of a bar is odd.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lake.quality.market_rules import BACK_BARS_MIN, SERIES, MarketRule
from lake.quality.rule import QualityRule

FEATURES: Mapping[str, str] = {
    "return": "least(20, greatest(-20, (ret - ret_mean) / ret_dev))",
    "range": "ln((reach + 1e-9) / (reach_mean + 1e-9))",
    "volume": "ln((volume::DOUBLE + 1e-9) / (volume_mean + 1e-9))",
    "close_in_range": 'CASE WHEN high > low THEN ("close" - low)::DOUBLE / (high - low)::DOUBLE'
    " ELSE 0.5 END",
}
"""Name -> SQL over what series_sql gives. The return is in deviations of those before."""

USABLE = f"back_n >= {BACK_BARS_MIN} AND ret_dev > 0 AND ret IS NOT NULL AND volume_mean > 0"

LIMIT_QUANTILE = 0.999


@dataclass(frozen=True, slots=True)
class AnomalyModel:
    """A version of the model of bars of one interval.

    centre: per feature; precision: the inverse covariance, row by row; limit: squared distance
    above which a bar is an anomaly.
    """

    interval: str
    version: int
    centre: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    limit: float

    def parameters(self) -> dict[str, Any]:
        """Return what is kept of it, with the features it was trained on."""
        return {**asdict(self), "features": list(FEATURES)}


def model_of(parameters: Mapping[str, Any]) -> AnomalyModel | None:
    """Return a kept model; None where it was trained on other features."""
    if parameters.get("features") != list(FEATURES):
        return None
    return AnomalyModel(
        parameters["interval"],
        parameters["version"],
        tuple(parameters["centre"]),
        tuple(map(tuple, parameters["precision"])),
        parameters["limit"],
    )


def features_sql(series: str, interval: str) -> str:
    """Select key and features of the bars of an interval that have enough before them."""
    named = ", ".join(f'{sql} AS "f_{name}"' for name, sql in FEATURES.items())
    return (
        f'SELECT {SERIES}, "interval", event_time, "close", is_new, {named} FROM {series}'
        f" WHERE {USABLE} AND \"interval\" = '{interval}'"
    )


def anomaly_rule(model: AnomalyModel, series: str, new: str) -> MarketRule:
    """Return the rule that a bar's squared distance stays below the model's limit.

    A row at fault says what each feature adds to its distance: the largest is what is odd.
    """
    off = [f'("f_{name}" - {at!r})' for name, at in zip(FEATURES, model.centre, strict=True)]
    parts = [
        f"{one} * ({' + '.join(f'{w!r} * {o}' for w, o in zip(weights, off, strict=True))})"
        for one, weights in zip(off, model.precision, strict=True)
    ]
    adds = ", ".join(f'{part} AS "by_{name}"' for name, part in zip(FEATURES, parts, strict=True))
    total = " + ".join(f'"by_{name}"' for name in FEATURES)
    shown = ", ".join(f'"by_{name}"' for name in FEATURES)
    rule = QualityRule(
        "bars",
        f"anomaly_{model.interval}",
        "model",
        "accuracy",
        "warning",
        "A bar is like those that the model was trained on.",
        "look at it before it is used; where the market has changed: ticklake quality train",
        str(model.version),
    )
    return MarketRule(
        rule,
        f"(FROM {new} WHERE \"interval\" = '{model.interval}')",
        f'SELECT {SERIES}, "interval", event_time, "close", {total} AS distance, {shown} FROM'
        f" (SELECT *, {adds} FROM ({features_sql(series, model.interval)}) WHERE is_new)"
        f" WHERE {total} > {model.limit!r}",
    )

"""What is served: views of feature sets, declared once for Feast, the writer and the audit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from feature_repo.feature_set import FeatureSet, feature_set
from lake.errors import WrongUse
from lake.training.feature_table import FeatureTable

DATASET = "features_market"
SERIES = ("ticker", "exchange", "market", "interval")
"""Whose a value is; join keys of every view."""

TTL = timedelta(days=7)
"""The oldest value that is joined or served."""


@dataclass(frozen=True, slots=True)
class View:
    """Some features of one version of a set, joined and served together."""

    name: str
    of: FeatureSet
    columns: tuple[str, ...]
    ttl: timedelta = TTL

    def __post_init__(self) -> None:
        for column in self.columns:
            self.of.feature(column)

    def table(self, columns: tuple[str, ...] = (), *, prefix: str = "") -> FeatureTable:
        """Return what joins a training set; columns: of the view, all without."""
        return FeatureTable(
            DATASET,
            columns or self.columns,
            self.ttl,
            keys=SERIES,
            fixed={"set_version": self.of.version},
            prefix=prefix,
        )


_MARKET_1 = feature_set("market", 1)
MARKET_V1 = View("market_v1", _MARKET_1, tuple(_MARKET_1.names))
PRICE_MOMENTUM = View("price_momentum", _MARKET_1, ("sma_20", "rsi_14", "macd"))
VIEWS = (MARKET_V1, PRICE_MOMENTUM)


def view(name: str) -> View:
    """Return a view; WrongUse when there is none of the name."""
    for each in VIEWS:
        if each.name == name:
            return each
    raise WrongUse(
        f"view {name}", "there is no such view", f"one of: {', '.join(v.name for v in VIEWS)}"
    )

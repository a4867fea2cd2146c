"""What is served: views of feature sets, declared once for Feast, the writer and the audit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from feature_repo.feature_set import (
    MARKET,
    MICROSTRUCTURE,
    SENTIMENT_MEANS,
    WITH_REFERENCE,
    FeatureSet,
)
from lake.errors import WrongUse
from lake.training.feature_table import FeatureTable

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
            self.of.dataset,
            columns or self.columns,
            self.ttl,
            keys=SERIES,
            fixed={"set_version": self.of.version},
            prefix=prefix,
        )


def whole(of: FeatureSet) -> View:
    """Return the view of a whole set."""
    return View(f"{of.name}_v{of.version}", of, tuple(of.names))


MARKET_V1 = whole(MARKET)
MICROSTRUCTURE_V1 = whole(MICROSTRUCTURE)
SENTIMENT_V1 = whole(SENTIMENT_MEANS)
CROSS_ASSET_V1 = whole(WITH_REFERENCE)
PRICE_MOMENTUM = View("price_momentum", MARKET, ("sma_20", "rsi_14", "macd"))
VIEWS = (MARKET_V1, PRICE_MOMENTUM, MICROSTRUCTURE_V1, SENTIMENT_V1, CROSS_ASSET_V1)


def view(name: str) -> View:
    """Return a view; WrongUse when there is none of the name."""
    for each in VIEWS:
        if each.name == name:
            return each
    raise WrongUse(
        f"view {name}", "there is no such view", f"one of: {', '.join(v.name for v in VIEWS)}"
    )

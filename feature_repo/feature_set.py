"""Sets of features, named and versioned: what a table, a model or an online view holds.

A version never changes once it is in use: a new definition of a feature is a new version of it and
of the sets that take it. Rolling back is naming the version before in IN_FORCE; the values of every
version stay in the lake under its number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from feature_repo.feature import BAR_INPUTS, Feature
from feature_repo.features.cross_asset import COMMON_INPUTS, CROSS_ASSET
from feature_repo.features.momentum import MOMENTUM
from feature_repo.features.quotes import QUOTE_INPUTS, QUOTES
from feature_repo.features.sentiment import SCORE_INPUTS, SENTIMENT
from feature_repo.features.trend import TREND
from feature_repo.features.volatility import VOLATILITY
from feature_repo.features.volume import VOLUME
from lake.errors import WrongUse


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Features in the order of their columns; one comes after those that it is made of.

    given: columns of the rows that they are computed of, and rows: what such a row is, in words;
    sources: datasets that the rows come from, whose promised latency imported history is given.
    """

    name: str
    version: int
    features: tuple[Feature, ...]
    given: frozenset[str] = BAR_INPUTS
    rows: str = "bars"
    sources: tuple[str, ...] = ("bars",)

    def __post_init__(self) -> None:
        known = set(self.given)
        for feature in self.features:
            assert set(feature.inputs) <= known, f"{feature.name} comes before an input of it"
            assert feature.name not in known, f"{feature.name} comes twice"
            known.add(feature.name)

    @property
    def names(self) -> list[str]:
        """Return the columns' names."""
        return [feature.name for feature in self.features]

    @property
    def dataset(self) -> str:
        """Return the table of the set's values."""
        return f"features_{self.name}"

    @property
    def lookback(self) -> int:
        """Return the bars that a whole row depends on, its own included."""
        return max(feature.lookback for feature in self.features)

    def feature(self, name: str) -> Feature:
        """Return a feature of the set; WrongUse when it has none of the name."""
        for feature in self.features:
            if feature.name == name:
                return feature
        raise WrongUse(
            f"feature {name}",
            f"not in set {self.name}, version {self.version}",
            f"one of: {', '.join(self.names)}",
        )


MARKET = FeatureSet("market", 1, (*TREND, *MOMENTUM, *VOLATILITY, *VOLUME))
"""All that bars of one series give."""

MICROSTRUCTURE = FeatureSet(
    "microstructure", 1, QUOTES, QUOTE_INPUTS, "minutes with a quote", ("crypto_quotes",)
)
"""What a minute's best quotes give; of interval 1m only."""

SENTIMENT_MEANS = FeatureSet(
    "sentiment",
    1,
    SENTIMENT,
    SCORE_INPUTS,
    "bars with their asset's scores",
    ("bars", "market_sentiment"),
)
"""What an asset's scores give, at the end of each bar of a ticker of it."""

WITH_REFERENCE = FeatureSet(
    "cross_asset", 1, CROSS_ASSET, COMMON_INPUTS, "bars that the reference has too"
)
"""What a series' bars give beside the reference's."""

SETS = (MARKET, MICROSTRUCTURE, SENTIMENT_MEANS, WITH_REFERENCE)
IN_FORCE: Mapping[str, int] = MappingProxyType(
    {"market": 1, "microstructure": 1, "sentiment": 1, "cross_asset": 1}
)
"""The version that is made and served, by set."""


def feature_set(name: str, version: int | None = None) -> FeatureSet:
    """Return a set, of the version in force without one; WrongUse when there is no such."""
    wanted = IN_FORCE.get(name) if version is None else version
    for each in SETS:
        if (each.name, each.version) == (name, wanted):
            return each
    there = ", ".join(f"{each.name} {each.version}" for each in SETS)
    said = f"feature set {name}" + ("" if version is None else f", version {version}")
    raise WrongUse(said, "there is no such set", f"one of: {there}")


def spelled_out(words: Sequence[str]) -> list[str]:
    """Return features' names: the name of a set stands for all of its version in force."""
    return [
        name for word in words for name in (feature_set(word).names if word in IN_FORCE else [word])
    ]


def sets_beside(names: Sequence[str], of: str = MARKET.name) -> dict[str, int]:
    """Return the sets in force that have one of these features, without `of`: name -> version."""
    asked = set(names)
    return {
        each: version
        for each, version in IN_FORCE.items()
        if each != of and asked.intersection(feature_set(each, version).names)
    }

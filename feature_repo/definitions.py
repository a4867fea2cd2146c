"""What `feast apply` puts into the registry: the feature sets of the lake, by version.

Each version of a set has a source, a view and a service; `price_momentum` is a view of three of
its features. A value belongs to a series: ticker, exchange, market and interval.
"""

from __future__ import annotations

from feast import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    OnDemandFeatureView,
    Project,
    PushSource,
    RequestSource,
    ValueType,
)
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, String

from feature_repo.store.place import PROJECT
from feature_repo.store.source import LakeSource
from feature_repo.store.views import DATASET, MARKET_V1, PRICE_MOMENTUM, View

project = Project(name=PROJECT, description="Features of market data, point in time.")


def series_key(name: str, meaning: str) -> Entity:
    """Return an entity that is a part of a series' key."""
    return Entity(name=name, join_keys=[name], value_type=ValueType.STRING, description=meaning)


ticker = series_key("ticker", "Instrument, for instance X:BTCUSD.")
exchange = series_key("exchange", "Venue, for instance binance.")
market = series_key("market", "Market of the venue: spot, usdm, coinm.")
interval = series_key("interval", "Length of the bar: 1m, 5m, 1h or 1d.")
KEYS = (ticker, exchange, market, interval)


def feast_view(of: View, source: PushSource) -> FeatureView:
    """Return a view as Feast has it."""
    return FeatureView(
        name=of.name,
        entities=list(KEYS),
        ttl=of.ttl,
        schema=[
            *(Field(name=each.name, dtype=String) for each in KEYS),
            *(
                Field(name=each, dtype=Float64, description=of.of.feature(each).formula)
                for each in of.columns
            ),
        ],
        source=source,
        tags={"set": of.of.name, "set_version": str(of.of.version)},
        description=f"Features of set {of.of.name}, version {of.of.version}.",
    )


features_market_v1 = LakeSource(
    name="features_market_v1",
    dataset=DATASET,
    set_version=MARKET_V1.of.version,
    description="Table features_market of the lake, rows of set version 1.",
)
market_v1_push = PushSource(name="market_v1_push", batch_source=features_market_v1)

market_v1 = feast_view(MARKET_V1, market_v1_push)
price_momentum = feast_view(PRICE_MOMENTUM, market_v1_push)

asked_price = RequestSource(name="asked_price", schema=[Field(name="price", dtype=Float64)])


def place_in_bands(inputs: dict[str, list[float | None]]) -> dict[str, list[float | None]]:
    """Return where a price stands in the bands: 0 at the lower, 1 at the upper; None without."""
    rows = zip(inputs["price"], inputs["bollinger_lower"], inputs["bollinger_upper"], strict=True)
    return {
        "price_percent_b": [
            None
            if price is None or low is None or high is None or high == low
            else (price - low) / (high - low)
            for price, low, high in rows
        ]
    }


price_in_bands: OnDemandFeatureView = on_demand_feature_view(
    sources=[market_v1, asked_price],
    schema=[Field(name="price_percent_b", dtype=Float64)],
    mode="python",
    name="price_in_bands",
    description="Where a price of now stands in the Bollinger bands of the last bar.",
)(place_in_bands)

market_v1_service = FeatureService(
    name="market_v1", features=[market_v1], description="Set market, version 1, whole."
)
price_momentum_service = FeatureService(name="price_momentum_v1", features=[price_momentum])

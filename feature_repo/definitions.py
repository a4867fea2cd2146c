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
from feature_repo.store.views import (
    CROSS_ASSET_V1,
    MARKET_V1,
    MICROSTRUCTURE_V1,
    PRICE_MOMENTUM,
    SENTIMENT_V1,
    View,
)

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


def lake_source(of: View) -> LakeSource:
    """Return the rows of a set's version in its table."""
    return LakeSource(
        name=f"features_{of.name}",
        dataset=of.of.dataset,
        set_version=of.of.version,
        description=f"Table {of.of.dataset} of the lake, rows of set version {of.of.version}.",
    )


def pushed(of: View) -> PushSource:
    """Return the source of a whole set, which values may be pushed to."""
    return PushSource(name=f"{of.name}_push", batch_source=lake_source(of))


def service(view: FeatureView) -> FeatureService:
    """Return the service of a whole set."""
    return FeatureService(
        name=view.name, features=[view], description=f"{view.description} All of them."
    )


market_v1_push = pushed(MARKET_V1)
microstructure_v1_push = pushed(MICROSTRUCTURE_V1)
sentiment_v1_push = pushed(SENTIMENT_V1)
cross_asset_v1_push = pushed(CROSS_ASSET_V1)

market_v1 = feast_view(MARKET_V1, market_v1_push)
microstructure_v1 = feast_view(MICROSTRUCTURE_V1, microstructure_v1_push)
sentiment_v1 = feast_view(SENTIMENT_V1, sentiment_v1_push)
cross_asset_v1 = feast_view(CROSS_ASSET_V1, cross_asset_v1_push)
price_momentum = feast_view(PRICE_MOMENTUM, market_v1_push)

asked_price = RequestSource(name="asked_price", schema=[Field(name="price", dtype=Float64)])


def over_the_mean(inputs: dict[str, list[float | None]]) -> dict[str, list[float | None]]:
    """Return by how much of it a price is above the mean; None without either."""
    rows = zip(inputs["price"], inputs["sma_20"], strict=True)
    return {
        "price_over_sma_20": [
            None if price is None or not mean else price / mean - 1 for price, mean in rows
        ]
    }


price_over_mean: OnDemandFeatureView = on_demand_feature_view(
    sources=[market_v1, asked_price],
    schema=[Field(name="price_over_sma_20", dtype=Float64)],
    mode="python",
    name="price_over_mean",
    description="How far a price of now is above the mean close of the last 20 bars.",
)(over_the_mean)

market_v1_service = service(market_v1)
microstructure_v1_service = service(microstructure_v1)
sentiment_v1_service = service(sentiment_v1)
cross_asset_v1_service = service(cross_asset_v1)
price_momentum_service = FeatureService(name="price_momentum_v1", features=[price_momentum])

"""What each mover on a schedule reads and writes, for its lineage.

A flow that moves no data has a job without them: its runs are told of all the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from lake.contracts.ages import LEAVING_DATASETS, RESULTS, aging_datasets
from lake.contracts.contract import (
    LAKE_ONLY_DATASETS,
    LEDGER_DATASETS,
    NUMBERED_DATASETS,
    TICK_DATASETS,
)
from lake.lineage.job import JOURNAL, Job, hot, lake, online

FEATURE_DATASETS = tuple(each for each in LAKE_ONLY_DATASETS if each.startswith("features_"))
MADE_DATASETS = ("model_predictions", "asset_edges", "funding_rates", "ml_models")

BARS = Job(
    "trades_to_bars",
    "Bars of 1s, 1m, 5m, 1h and 1d of the trades that are new, published all together or not.",
    (
        lake("crypto_trades"),
        hot("crypto_trades"),
        lake("crypto_aggregates"),
        hot("crypto_aggregates"),
    ),
    (lake("bars"),),
)
FEATURES = Job(
    "bars_to_features",
    "Features of bars, quotes and scores that are new or have changed, added with the time they"
    " were known from.",
    (
        lake("bars"),
        *(tier(name) for name in ("crypto_quotes", "market_sentiment") for tier in (lake, hot)),
    ),
    tuple(map(lake, FEATURE_DATASETS)),
)
UPKEEP = Job("small_files_to_large", "Merges small files and lets go of what nobody needs.")
LINEAGE = Job(
    "numbered_to_lake",
    "Takes what flows wrote into the hot tier to the lake, by its number.",
    tuple(map(hot, NUMBERED_DATASETS)),
    tuple(map(lake, NUMBERED_DATASETS)),
)

ALERTS = Job("promises_to_alerts", "Measures what contracts promise; tells of what is wrong once.")

RETENTION = Job(
    "hot_to_archive",
    "Lets rows leave tier by tier, at the ages of their contracts and after proof.",
    (*map(hot, (*LEAVING_DATASETS, RESULTS)), *map(lake, aging_datasets())),
    (*map(lake, aging_datasets()),),
)
AUDIT = Job(
    "lake_to_audit",
    "Control totals and checksums of the whole lake, signed and kept.",
    tuple(map(lake, (*TICK_DATASETS, "bars"))),
    (hot("audits"),),
)
GAPS = Job(
    "gaps_to_history",
    "Fills gaps on record from the venues' histories.",
    (hot("feed_gaps"),),
    (JOURNAL,),
)
QUALITY = Job(
    "rows_to_quality",
    "Rules of contracts, markets and the anomaly model on what is new.",
    (*map(hot, (*TICK_DATASETS, *LEDGER_DATASETS, *MADE_DATASETS)), lake("bars")),
    (hot("quality_results"), lake("quality_results")),
)
ANOMALY_MODEL = Job(
    "bars_to_anomaly_model", "Anomaly models of bars, trained on the last 90 days.", (lake("bars"),)
)
ASSET_EDGES = Job(
    "bars_to_asset_edges",
    "The network of assets: correlations, leads and clusters of the newest windows of bars.",
    (lake("bars"),),
    (hot("asset_edges"), lake("asset_edges")),
)
ONLINE = Job(
    "features_to_online",
    "The lake's newest features, served by the speed layer.",
    tuple(map(lake, FEATURE_DATASETS)),
    tuple(map(online, FEATURE_DATASETS)),
)
ONLINE_AUDIT = Job(
    "online_to_quality",
    "What is served, and what models saw live, against the lake, bit for bit.",
    (
        *(of(each) for each in FEATURE_DATASETS for of in (lake, online)),
        hot("model_predictions"),
        lake("model_predictions"),
    ),
    (hot("quality_results"), lake("quality_results")),
)
LABELS = Job(
    "bars_to_labels",
    "Labels of bars whose horizon has passed: the return that followed, the barrier met first.",
    (lake("bars"),),
    (lake("labels_market"),),
)
MODELS = Job(
    "release_to_challengers",
    "Champions trained anew on the release of the week; what comes of it is challenger.",
    (lake("bars"), lake("features_market")),
)
PROMOTION = Job(
    "challenger_to_champion", "Challengers become champions where they meet the written criteria."
)
PREDICTIONS = Job(
    "features_to_predictions",
    "What champion, challenger and shadow say of new features; the registry as a table.",
    (lake("features_market"),),
    tuple(of(each) for each in ("model_predictions", "ml_models") for of in (hot, lake)),
)
DRIFT = Job(
    "features_to_drift",
    "How far features and predictions went from training, and how predictions came out.",
    (lake("features_market"), lake("bars"), hot("model_predictions"), lake("model_predictions")),
    (hot("quality_results"), lake("quality_results")),
)
LEDGER = Job(
    "ledger_to_anchor",
    "Orders, fills, positions, snapshots of their events; the ends of the chains signed.",
    (hot("order_events"), hot("position_events")),
    tuple(hot(name) for name in LEDGER_DATASETS if not name.endswith("_events")),
)
ORDER_AUDIT = Job(
    "orders_to_audit",
    "Every order, fill and position traced to its events, the share of them signed and kept.",
    tuple(map(hot, LEDGER_DATASETS)),
    (hot("audits"),),
)
BACKFILL = Job(
    "history_to_journal",
    "History of venues and of files, taken in as if it came now.",
    (),
    (JOURNAL,),
)
IMPORT = Job("import", "Takes an earlier database in, day by day.", (), (JOURNAL,))
FOLLOW = Job("old_tables_to_journal", "Follows an earlier database.", (), (JOURNAL,))

JOBS: Mapping[str, Job] = {
    "alerts": ALERTS,
    "asset-edges": ASSET_EDGES,
    "labels": LABELS,
    "models": MODELS,
    "promotion": PROMOTION,
    "audit": AUDIT,
    "drift": DRIFT,
    "predictions": PREDICTIONS,
    "bars": BARS,
    "features": FEATURES,
    "follow": FOLLOW,
    "gaps": GAPS,
    "ledger": LEDGER,
    "lineage": LINEAGE,
    "order-audit": ORDER_AUDIT,
    "quality": QUALITY,
    "anomaly-model": ANOMALY_MODEL,
    "online": ONLINE,
    "online-audit": ONLINE_AUDIT,
    "retention": RETENTION,
    "upkeep": UPKEEP,
}
"""Schedule -> its job. One that is not here is told of without data."""


def job_of(name: str, description: str) -> Job:
    """Return the job of a schedule; one without data where nothing is declared."""
    return JOBS.get(name, Job(name, description))

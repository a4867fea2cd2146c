"""Every flow that runs by itself."""

from __future__ import annotations

from flows.scheduled.alerts import ALERTS
from flows.scheduled.asset_edges import ASSET_EDGES
from flows.scheduled.audit import AUDIT
from flows.scheduled.bars import BARS
from flows.scheduled.features import FEATURES
from flows.scheduled.follow import FOLLOW
from flows.scheduled.gaps import GAPS
from flows.scheduled.labels import LABELS
from flows.scheduled.ledger import LEDGER, ORDER_AUDIT
from flows.scheduled.lineage import LINEAGE
from flows.scheduled.models import MODELS, PROMOTION
from flows.scheduled.online import ONLINE, ONLINE_AUDIT
from flows.scheduled.predictions import DRIFT, PREDICTIONS
from flows.scheduled.quality import ANOMALY_MODEL, QUALITY
from flows.scheduled.retention import RETENTION
from flows.scheduled.upkeep import UPKEEP

SCHEDULES = (
    ALERTS,
    BARS,
    FEATURES,
    UPKEEP,
    RETENTION,
    AUDIT,
    GAPS,
    FOLLOW,
    LINEAGE,
    QUALITY,
    ANOMALY_MODEL,
    ASSET_EDGES,
    ONLINE,
    ONLINE_AUDIT,
    LABELS,
    MODELS,
    PROMOTION,
    PREDICTIONS,
    DRIFT,
    LEDGER,
    ORDER_AUDIT,
)

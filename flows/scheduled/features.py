"""Features under Prefect: of the bars that are new or have changed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.bars_to_features import BarsToFeatures, Step
from flows.place import place_of
from flows.scheduled.schedule import Schedule
from flows.scheduled.tries import in_one, tried

FEATURES_S_MAX = 3_600
EVERY = timedelta(minutes=5)


@tried("add features of new bars")
def add_features(home: Path | None) -> Step:
    """Add what new and changed bars make."""
    place = place_of(home)
    namespace = place.lineage.namespace
    with BarsToFeatures(place.dsn, place.warehouse, namespace=namespace) as maker:
        return maker.step()


@flow(name="bars-to-features", timeout_seconds=FEATURES_S_MAX)
def bars_to_features(home: Path | None = None) -> int:
    """Features of the bars that are new or have changed; the same call twice adds nothing."""
    with in_one("features"):
        step = add_features(home)
    create_markdown_artifact(step.line(), key="features", description="features added")
    return step.put


FEATURES = Schedule("features", bars_to_features, EVERY)

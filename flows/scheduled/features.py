"""Features under Prefect: of the bars, quotes and scores that are new or have changed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.every_feature_set import Made, every_set
from flows.place import place_of
from flows.scheduled.schedule import Schedule
from flows.scheduled.tries import in_one, tried
from lake.parts import ShowPart

FEATURES_S_MAX = 3_600
EVERY = timedelta(minutes=5)


@tried("add features of what is new")
def add_features(home: Path | None, show: ShowPart) -> list[Made]:
    """Add what is new and changed makes, set by set."""
    place = place_of(home)
    return every_set(place.dsn, place.warehouse, namespace=place.lineage.namespace, show=show)


@flow(name="bars-to-features", timeout_seconds=FEATURES_S_MAX)
def bars_to_features(home: Path | None = None) -> int:
    """Features of what is new or has changed; the same call twice adds nothing."""
    with in_one("features") as show:
        made = add_features(home, show)
    said = "\n".join(f"- {each.line()}" for each in made)
    create_markdown_artifact(said, key="features", description="features added")
    return sum(each.step.put for each in made)


FEATURES = Schedule("features", bars_to_features, EVERY, at=timedelta(minutes=1))

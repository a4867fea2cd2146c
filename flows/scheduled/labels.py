"""Labels under Prefect: of the bars whose horizon has passed, or that have changed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.bars_to_labels import Step, label_bars
from flows.place import place_of
from flows.scheduled.schedule import Schedule
from flows.scheduled.tries import in_one, tried
from lake.clock import SystemClock
from lake.parts import ShowPart

LABELS_S_MAX = 3_600


@tried("add labels of bars")
def add_labels(home: Path | None, show: ShowPart) -> Step:
    """Add what new and changed bars make known."""
    place = place_of(home)
    namespace = place.lineage.namespace
    clock = SystemClock()
    return label_bars(place.dsn, place.warehouse, clock, namespace=namespace, show=show)


@flow(name="bars-to-labels", timeout_seconds=LABELS_S_MAX)
def bars_to_labels(home: Path | None = None) -> int:
    """Labels of bars whose horizon has passed or that changed; the same call twice adds nothing."""
    with in_one("labels") as show:
        step = add_labels(home, show)
    create_markdown_artifact(step.line(), key="labels", description="labels added")
    return step.put


LABELS = Schedule("labels", bars_to_labels, timedelta(minutes=15), at=timedelta(minutes=7))

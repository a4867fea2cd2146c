"""Models in use under Prefect: what they say each five minutes, how they drift each hour.

What they need is loaded by the runs alone: MLflow and LightGBM take seconds.
"""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from feature_repo.models.registry_place import registry_place
from flows.place import place_of
from flows.scheduled.schedule import Schedule
from flows.scheduled.tries import in_one, tried
from lake.clock import SystemClock
from lake.parts import ShowPart

SCORE_S_MAX = 900
DRIFT_S_MAX = 900


@tried("have models speak")
def speak(home: Path | None, show: ShowPart) -> list[str]:
    """Write what every version in use says of the features that are new."""
    place = place_of(home)
    models = import_module("feature_repo.models.registry")
    registry = models.Registry(registry_place(place.settings.home))
    score = import_module("flows.features_to_predictions").score
    said_now = score(place.dsn, place.warehouse, registry, SystemClock(), show=show)
    return [each.line() for each in said_now]


@flow(name="features-to-predictions", timeout_seconds=SCORE_S_MAX)
def features_to_predictions(home: Path | None = None) -> list[str]:
    """What champion, challenger and shadow say of new features; the registry as a table."""
    with in_one("predictions") as show:
        lines = speak(home, show)
    create_markdown_artifact(said(lines), key="predictions")
    return lines


@tried("measure drift")
def measure(home: Path | None, show: ShowPart) -> list[str]:
    """Measure every version in use, tell of champions that went astray, write the page."""
    place = place_of(home)
    models = import_module("feature_repo.models.registry")
    registry = models.Registry(registry_place(place.settings.home))
    looked = import_module("flows.features_to_drift").look(
        place.dsn, place.warehouse, registry, SystemClock(), show=show
    )
    pages = import_module("flows.drift_to_page")
    written = pages.write_page(place.settings.home, place.dsn, looked, SystemClock())
    return [*looked.lines(), f"page {written}"]


@flow(name="features-to-drift", timeout_seconds=DRIFT_S_MAX)
def features_to_drift(home: Path | None = None) -> list[str]:
    """How far features and predictions went from training, and how predictions came out."""
    with in_one("drift") as show:
        lines = measure(home, show)
    create_markdown_artifact(said(lines), key="drift")
    return lines


def said(lines: list[str]) -> str:
    """Return lines as Markdown."""
    return "\n".join(f"- {line.strip()}" for line in lines) or "no model is in use"


PREDICTIONS = Schedule(
    "predictions",
    features_to_predictions,
    timedelta(minutes=5),
    at=timedelta(minutes=2, seconds=30),
)
DRIFT = Schedule("drift", features_to_drift, timedelta(hours=1), at=timedelta(minutes=40))

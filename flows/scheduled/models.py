"""Training and promotion under Prefect: champions anew each week, challengers decided each day.

What trains is loaded by the runs alone: its libraries take seconds.
"""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from feature_repo.models.registry_place import registry_place
from flows.place import place_of
from flows.scheduled.schedule import Schedule
from flows.scheduled.tries import in_one, tried
from lake.clock import SystemClock
from lake.parts import ShowPart

TRAIN_S_MAX = 12 * 3_600
PROMOTE_S_MAX = 900


@tried("train champions anew")
def train_anew(home: Path | None, show: ShowPart) -> list[str]:
    """Train what is champion on the release of this week; the outcome is challenger."""
    place = place_of(home)
    trains = import_module("flows.release_to_challengers").train_champions
    own = place.settings.home
    done = trains(own, place.dsn, place.warehouse, _registry(own), SystemClock(), show)
    return list(done.lines)


@flow(name="release-to-challengers", timeout_seconds=TRAIN_S_MAX)
def release_to_challengers(home: Path | None = None) -> list[str]:
    """Champions trained anew, each as it was, on the release of this week, made by it."""
    with in_one("models") as show:
        lines = train_anew(home, show)
    create_markdown_artifact(_words(lines), key="models")
    return lines


@tried("decide about challengers")
def decide_all(home: Path | None, show: ShowPart) -> list[str]:
    """Make challengers champion where they meet the criteria."""
    place = place_of(home)
    decides = import_module("flows.challenger_to_champion").promote_all
    return list(decides(_registry(place.settings.home), place.dsn, show=show))


@flow(name="challenger-to-champion", timeout_seconds=PROMOTE_S_MAX)
def challenger_to_champion(home: Path | None = None) -> list[str]:
    """Challengers become champions where they meet the written criteria; the old one is shadow."""
    with in_one("promotion") as show:
        lines = decide_all(home, show)
    create_markdown_artifact(_words(lines), key="promotion")
    return lines


def _registry(home: Path) -> Any:
    registry = import_module("feature_repo.models.registry")
    return registry.Registry(registry_place(home))


def _words(lines: list[str]) -> str:
    return "\n".join(f"- {line.strip()}" for line in lines) or "- nothing to do"


MODELS = Schedule(
    "models", release_to_challengers, timedelta(weeks=1), at=timedelta(days=5, hours=3)
)
PROMOTION = Schedule(
    "promotion", challenger_to_champion, timedelta(days=1), at=timedelta(hours=1, minutes=15)
)

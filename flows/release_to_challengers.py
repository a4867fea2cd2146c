"""Champions are trained anew on a newer release, each as it was; what comes of it is challenger.

A run makes the release of its week, once, and trains on it what has not been trained on it yet: the
same call again adds nothing, and whoever kills it loses the training that it was in. Models without
a champion, and those trained on a file's rows, are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psycopg

from feature_repo.models.learner import LearnerAway, recipe_of
from feature_repo.models.registry import Card, Registry, Version
from flows.challenger_to_champion import CHALLENGER, CHAMPION
from flows.features_to_model import Order, train_model
from flows.release_to_training_rows import ask_of, rows_of_release
from lake.clock import Clock, utc_from_us
from lake.errors import BadInput, Damaged, WrongUse
from lake.hot.turn import turn
from lake.parts import ShowPart, by_parts, nobody
from lake.receipts.receipt import FOLDER, save
from lake.releases.release import create, names
from lake.views.client import Client
from lake.warehouse import Warehouse

PREFIX = "week-"


@dataclass(frozen=True, slots=True)
class Weekly:
    """What a run did: its release, "" where nothing was to be trained, and words of each model."""

    release: str
    lines: tuple[str, ...]


def train_champions(
    home: Path,
    dsn: str,
    warehouse: Warehouse,
    registry: Registry,
    clock: Clock,
    show: ShowPart = nobody,
) -> Weekly:
    """Train every champion's challenger on the release of this week, made where there is none.

    home: receipts are kept in it. Raises Unavailable where a server is away; what is wrong with one
    model's rows, or its learner that is not installed here, is in the words of that model, and the
    others go on. show: is told how far it is.
    """
    champions = [each for each in registry.versions() if CHAMPION in each.roles]
    if not champions:
        return Weekly("", ("no model has a champion",))
    release = _release(dsn, warehouse, clock)
    lines: list[str] = []
    for champion in by_parts(champions, show):
        with turn(dsn, f"model-{champion.name}"):
            try:
                lines.append(_trained(home, dsn, warehouse, registry, champion, release, clock))
            except (BadInput, Damaged, WrongUse, LearnerAway) as error:
                lines.append(f"{champion.name} is not trained: {error}")
    return Weekly(release, tuple(lines))


def _release(dsn: str, warehouse: Warehouse, clock: Clock) -> str:
    """Return the release of this week, by its ISO year and number."""
    year, week, _ = utc_from_us(clock.now_us()).isocalendar()
    name = f"{PREFIX}{year}-{week:02}"
    with psycopg.connect(dsn) as connection:
        there = name in names(connection)
    if not there:
        create(dsn, warehouse, name, clock)
    return name


def _trained(
    home: Path,
    dsn: str,
    warehouse: Warehouse,
    registry: Registry,
    champion: Version,
    release: str,
    clock: Clock,
) -> str:
    name = champion.name
    newest = registry.versions(name)[-1]
    if registry.stored(newest)[1].facts["release"] == release:
        if not newest.roles:  # whoever trained it died before it was challenger
            registry.set_role(name, newest.version, CHALLENGER)
        return f"{name} version {newest.version} is of {release} already"
    card = registry.stored(champion)[1]
    order = order_of(card, release)
    with Client(dsn, warehouse, release=release) as client:
        table = rows_of_release(client, ask_of(order.source))
    made = train_model(table, order, registry, clock, rival=champion)
    save(made.receipt, home / FOLDER)
    registry.set_role(name, made.version.version, CHALLENGER)
    return made.line()


def order_of(card: Card, release: str) -> Order:
    """Return the order that made a version, on another release.

    WrongUse where it was trained on a file's rows.
    """
    facts = card.facts
    if not facts.get("source"):
        raise WrongUse(
            f"model {card.name}", "was trained on a file's rows", "train it on the new ones by hand"
        )
    return Order(
        card.name,
        release,
        card.features,
        facts["label"],
        facts["feature_versions"],
        recipe_of(facts["learner"], facts["recipe"]),
        facts["folds"],
        facts["embargo_us"],
        "",
        facts["source"],
        facts.get("trials", 0),
    )

"""Rows of features become what every version in use says of them: champion, challenger, shadow.

A version speaks of what came after the rows that it was trained on, once a row of features: it
begins where its newest prediction stands, an hour of overlap before it, and leaves out what it has
said. The hot tier refuses a second answer, whoever gives it, this flow or the live path; so a run
that is killed anywhere, or two at once, leave each row once. It needs no Prefect.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from feature_repo.models.predictions import DATASET, KEYS, Says, Speaker, prediction_rows
from feature_repo.models.registry import ROLES, Card, Registry, Version
from feature_repo.models.trees import LEARNER
from flows.numbered_to_lake import take_in_turn
from flows.registry_to_ml_models import publish
from flows.release_to_training_rows import Ask, ask_of
from lake.clock import Clock
from lake.errors import Unavailable
from lake.hot.numbered import append
from lake.hot.turn import TURN_S_MAX, turn
from lake.steps import Steps
from lake.views.client import Client
from lake.views.engine import quote
from lake.warehouse import Warehouse

FEATURES = "features_market"
ROWS_MAX = 200_000
"""Rows that one version scores in one run; what is left goes with the next."""

PIECE_ROWS_MAX = 10_000
"""Rows of one transaction: some 20 MB."""

OVERLAP = timedelta(hours=1)
"""How far before its newest prediction a version looks again: a clock may have been set back."""

TRIES_MAX = 3
"""Readings anew where the live path said a row meanwhile."""

_NEWEST = (
    "SELECT max(features_recorded_time) FROM market.model_predictions"
    " WHERE model = %s AND model_version = %s AND source = 'batch'"
)


@dataclass(frozen=True, slots=True)
class Scored:
    """What a version said: rows; more: it left some for the next run; fault: why it can't."""

    name: str
    version: int
    role: str
    rows: int = 0
    more: bool = False
    fault: str = ""

    def line(self) -> str:
        """Return it in words."""
        who = f"{self.name} {self.version}, {self.role}"
        if self.fault:
            return f"{who}: {self.fault}"
        return f"{who}: {self.rows:,} predictions{', more to come' if self.more else ''}"


def score(
    dsn: str,
    warehouse: Warehouse,
    registry: Registry,
    clock: Clock,
    *,
    rows_max: int = ROWS_MAX,
    steps: Steps | None = None,
    wait_s: float = TURN_S_MAX,
) -> list[Scored]:
    """Have every version with a role say what it has not said yet; ml_models is written too.

    Raises Unavailable where the registry does not answer, while another run holds the turn, or
    where the live path is first again and again.
    """
    publish(dsn, warehouse, registry, clock, wait_s=wait_s)
    steps = steps or Steps()
    scored = []
    with (
        turn(dsn, DATASET, wait_s=wait_s) as lease,
        psycopg.connect(dsn, autocommit=True) as connection,
        Client(dsn, warehouse) as client,
    ):
        for found in in_use(registry):
            model, card = registry.load(found)
            speaker = Speaker(found.name, found.version, role_of(found), card.facts["release"])
            fault = unfit(card)
            if fault:
                scored.append(Scored(found.name, found.version, speaker.role, fault=fault))
                continue
            rows = 0
            for made in _said(connection, client, model, card, speaker, clock, rows_max):
                rows += made
                steps.at("model.predicted")
            more = rows >= rows_max
            scored.append(Scored(found.name, found.version, speaker.role, rows, more))
        take_in_turn(dsn, warehouse, DATASET, lease)
    return scored


def in_use(registry: Registry) -> list[Version]:
    """Return the versions that have a role."""
    return [each for each in registry.versions() if each.roles]


def role_of(found: Version) -> str:
    """Return the first of a version's roles; a champion that is challenger too is champion."""
    return next(role for role in ROLES if role in found.roles)


def unfit(card: Card) -> str:
    """Return why rows of the lake's features can't be given to a model; "" where they can."""
    if not card.facts.get("source"):
        return "was trained on a file, so nobody knows its features; train it on a release"
    learner = card.facts.get("learner", LEARNER)
    if learner != LEARNER:
        return f"takes more than one row at a time ({learner}), which is not done here yet"
    return ""


def _said(
    connection: psycopg.Connection,
    client: Client,
    model: Says,
    card: Card,
    speaker: Speaker,
    clock: Clock,
    rows_max: int,
) -> Iterator[int]:
    """Write what a version has to say, piece by piece; yield the rows of each."""
    for _ in range(TRIES_MAX):
        try:
            rows = client.arrow(unsaid_sql(connection, client, card, speaker, rows_max))
            for first in range(0, rows.num_rows, PIECE_ROWS_MAX):
                piece = rows.slice(first, PIECE_ROWS_MAX)
                append(connection, DATASET, prediction_rows(model, speaker, piece, clock))
                yield piece.num_rows
            return
        except psycopg.errors.UniqueViolation:
            continue  # all of that piece is undone
    raise Unavailable(DATASET, "the live path is first each time", "run it again")


def unsaid_sql(
    connection: psycopg.Connection, client: Client, card: Card, speaker: Speaker, rows_max: int
) -> str:
    """Select the rows of features that a version has said nothing of, in the order they were made.

    Rows that lack a feature are none, nor are those that the version was trained on. What the live
    path said stands at the time of its own vector, long before the lake's row where that is late:
    it is found by the bar.
    """
    ask = ask_of(card.facts["source"])
    who = (speaker.model, speaker.version)
    row = connection.execute(_NEWEST, who).fetchone()
    newest: datetime | None = row[0] if row else None
    since = f">= {_time(newest - OVERLAP)}" if newest else "IS NOT NULL"
    vector = ", ".join(f'"{name}"' for name in card.features)
    keys = ", ".join(f'"{name}"' for name in KEYS)
    whole = " AND ".join(f'isfinite("{name}")' for name in card.features)
    first = client.arrow(
        f"SELECT min(event_time) AS first FROM {FEATURES}"
        f" WHERE {of_ask(ask)} AND recorded_time {since}"
    )["first"][0].as_py()
    live = f" OR p.event_time >= {_time(first)}" if first else ""
    return (
        f"SELECT {keys}, event_time, available_time AS features_time,"
        f" recorded_time AS features_recorded_time, {vector} FROM {FEATURES} AS f"
        f" WHERE {of_ask(ask)} AND {whole} AND recorded_time {since}"
        f" AND event_time > {quote(card.facts['last_time'])}::TIMESTAMPTZ"
        f" AND NOT EXISTS (SELECT 1 FROM hot.{DATASET} AS p"
        f" WHERE p.model = {quote(speaker.model)} AND p.model_version = {speaker.version}"
        f" AND (p.features_recorded_time {since}{live})"
        ' AND (p.ticker, p.exchange, p.market, p."interval", p.event_time, p.features_time) ='
        ' (f.ticker, f.exchange, f.market, f."interval", f.event_time, f.available_time))'
        f" QUALIFY row_number() OVER (PARTITION BY {keys}, event_time, available_time"
        " ORDER BY recorded_time DESC) = 1"
        f" ORDER BY recorded_time, {keys}, event_time, available_time LIMIT {rows_max}"
    )


def of_ask(ask: Ask) -> str:
    """Return the condition of the rows that a model was asked for."""
    where = f'"interval" = {quote(ask.interval)} AND set_version = {ask.set.version}'
    if ask.tickers:
        where += f" AND ticker IN ({', '.join(map(quote, ask.tickers))})"
    return where


def _time(moment: datetime) -> str:
    return f"{quote(moment.isoformat())}::TIMESTAMPTZ"

"""Rows of features become what every version in use says of them: champion, challenger, shadow.

A version speaks of what came after the rows that it was trained on, once a row of features: it
begins where its newest prediction stands, an hour of overlap before it, and leaves out what it has
said. Of a version that looks at several rows flows.feature_windows says which it sees. The hot tier
refuses a second answer, whoever gives it, this flow or the live path; so a run that is killed
anywhere, or two at once, leave each row once. It needs no Prefect.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa

from feature_repo.models.learner import TREES, LearnerAway, read_model
from feature_repo.models.predictions import DATASET, KEYS, Says, Speaker, prediction_rows
from feature_repo.models.registry import ROLES, Card, Registry, Version
from feature_repo.models.takes import beside_market
from flows.feature_windows import windows_of
from flows.numbered_to_lake import take_in_turn
from flows.registry_to_ml_models import publish
from flows.release_to_training_rows import Ask, ask_of
from lake.clock import Clock
from lake.errors import Unavailable
from lake.hot.numbered import append
from lake.hot.turn import TURN_S_MAX, turn
from lake.parts import ShowPart, by_parts, nobody
from lake.steps import Steps
from lake.views.client import Client
from lake.views.engine import quote
from lake.warehouse import Warehouse

Float64 = npt.NDArray[np.float64]

FEATURES = "features_market"
ROWS_MAX = 200_000
"""Rows that one version scores in one run; what is left goes with the next."""

PIECE_ROWS_MAX = 10_000
"""Rows of one transaction: some 20 MB."""

WINDOW_ROWS_MAX = 1_000_000
"""Rows of all windows that one version scores in one run: some 400 MB of JSON."""

PIECE_WINDOW_ROWS_MAX = 50_000
"""Rows of the windows of one transaction: some 20 MB too."""

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
    show: ShowPart = nobody,
) -> list[Scored]:
    """Have every version with a role say what it has not said yet; ml_models is written too.

    show: is told how far it is. Raises Unavailable where the registry does not answer, while
    another run holds the turn, or where the live path is first again and again.
    """
    publish(dsn, warehouse, registry, clock, wait_s=wait_s)
    steps = steps or Steps()
    scored = []
    with (
        turn(dsn, DATASET, wait_s=wait_s) as lease,
        psycopg.connect(dsn, autocommit=True) as connection,
        Client(dsn, warehouse) as client,
    ):
        for found in by_parts(in_use(registry), show):
            text, card = registry.stored(found)
            speaker = Speaker(found.name, found.version, role_of(found), card.facts["release"])
            model = None
            fault = unfit(card)
            if not fault:
                model, fault = _read(text, card)
            if model is None:
                scored.append(Scored(found.name, found.version, speaker.role, fault=fault))
                continue
            rows = 0
            for made in _said(connection, client, model, card, speaker, clock, rows_max):
                rows += made
                steps.at("model.predicted")
            more = rows >= _rows_max(model, rows_max)
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
    if sets := beside_market(card):
        return f"takes features of {sets} beside market, which are not joined here yet"
    return ""


def _read(text: str, card: Card) -> tuple[Says | None, str]:
    """Return a version's model, or why it can't be had here: its learner is not installed."""
    try:
        return read_model(card.facts.get("learner", TREES), text, card.features), ""
    except LearnerAway as error:
        return None, str(error)


def _rows_max(model: Says, rows_max: int) -> int:
    """Return how many rows a version scores in one run."""
    return rows_max if model.window == 1 else min(rows_max, WINDOW_ROWS_MAX // model.window)


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
            unsaid = client.arrow(unsaid_sql(connection, client, card, speaker, rows_max))
            for rows, windows in _pieces(client, model, card, unsaid, rows_max):
                made = prediction_rows(model, speaker, rows, clock, windows=windows)
                append(connection, DATASET, made)
                yield rows.num_rows
            return
        except psycopg.errors.UniqueViolation:
            continue  # all of that piece is undone
    raise Unavailable(DATASET, "the live path is first each time", "run it again")


def _pieces(
    client: Client, model: Says, card: Card, unsaid: pa.Table, rows_max: int
) -> Iterator[tuple[pa.Table, Float64 | None]]:
    """Yield the rows of a transaction each, with their windows where the model looks at several.

    Rows of a series that has no whole window yet are left out.
    """
    if model.window == 1:
        for first in range(0, unsaid.num_rows, PIECE_ROWS_MAX):
            yield unsaid.slice(first, PIECE_ROWS_MAX), None
        return
    ask = ask_of(card.facts["source"])
    found = windows_of(client, ask, of_ask(ask), card.features, model.window, unsaid)
    count = min(found.count, _rows_max(model, rows_max))
    step = max(1, PIECE_WINDOW_ROWS_MAX // model.window)
    for first in range(0, count, step):
        last = min(first + step, count)
        yield found.rows.slice(first, last - first), found.vectors(first, last)


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

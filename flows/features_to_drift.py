"""Rows of features and predictions become drift: how far each went from what models were taught.

Each version in use is measured over the newest week that it was not trained on: PSI and
Kolmogorov-Smirnov of each feature against the training release's rows, the same of its predictions,
and, once labels are there, how they came out. Results are rows of quality_results; an alert is for
a champion alone: nobody acts on the others. It needs no Prefect.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa

from feature_repo.models.drift import Drift, Profile, drift, profile_of, profiles_of
from feature_repo.models.predictions import DATASET as PREDICTIONS
from feature_repo.models.predictions import KEYS
from feature_repo.models.registry import Card, Registry, Version
from feature_repo.models.watch import Performance, Watched, columns_of, performance
from flows.features_to_model import PREDICTION, PROFILES_FILE, WEIGHTS_FILE
from flows.features_to_predictions import FEATURES, in_use, of_ask, role_of, unfit
from flows.numbered_to_lake import take_in_turn
from flows.release_to_training_rows import Ask, ask_of, rows_of_release
from lake.bars.kernel import WIDTHS_US
from lake.clock import Clock, utc_from_us
from lake.errors import BadInput
from lake.hot.alerts import clear_alert, open_alerts, raise_alert
from lake.hot.turn import TURN_S_MAX, turn
from lake.parts import ShowPart, by_parts, nobody
from lake.quality.book import DATASET as RESULTS
from lake.quality.book import record
from lake.quality.rule import QualityRule, Result
from lake.views.client import Client
from lake.views.engine import quote
from lake.warehouse import Warehouse

WINDOW = timedelta(days=7)
WINDOW_BARS_MIN = 500
"""What is looked at, by the clock: features remember, so that a day of minutes is a few dozen
values that do not depend on each other, and noise alone would be a large PSI."""

ROWS_MAX = 500_000
"""Rows that are read of a window; of more, every second bar or third is."""

LABELLED_BARS = 1_440
"""The newest bars of the window, of which it is asked how predictions came out."""

FIRST_ROWS_MIN, FIRST_ROWS_MAX = 1_000, 20_000
"""A version's first predictions, which later ones are compared with."""

CHAMPION = "champion"
ALERT = "drift of "
REMEDY = "see the page (`ticklake models monitor`), then train on a newer release: `ticklake train`"


@dataclass(frozen=True, slots=True)
class Looked:
    """One run: its number in quality_results, and what it measured."""

    run: int
    watched: tuple[Watched, ...]

    def lines(self) -> list[str]:
        """Return it in words."""
        return [line for each in self.watched for line in each.lines()] or ["no model is in use"]


def look(
    dsn: str,
    warehouse: Warehouse,
    registry: Registry,
    clock: Clock,
    *,
    window_bars: int | None = None,
    wait_s: float = TURN_S_MAX,
    show: ShowPart = nobody,
) -> Looked:
    """Measure every version with a role, write down what was found, raise and clear alerts.

    window_bars: how many bars back from the newest, by the clock; None: a week, or 500. show: is
    told how far it is.
    Raises Unavailable where the registry does not answer, or while another run holds the turn.
    """
    with Client(dsn, warehouse) as client:
        watched = tuple(
            _watched(client, registry, found, window_bars)
            for found in by_parts(in_use(registry), show)
        )
    results = [result for each in watched for result in results_of(each)]
    with (
        turn(dsn, RESULTS, wait_s=wait_s) as lease,
        psycopg.connect(dsn, autocommit=True) as connection,
    ):
        run = record(connection, lease, results, {}, clock.now_us())
        _tell(connection, clock, watched)
        take_in_turn(dsn, warehouse, RESULTS, lease)
    return Looked(run, watched)


def results_of(watched: Watched) -> list[Result]:
    """Return what is written down of a version; nothing of what there was too little to say.

    What was measured stands where other rules name their rows at fault. Those of a feature that
    drifted are reckoned: K-S is the least part of the rows that would have to be others.
    """
    found = [
        _result(
            watched,
            FEATURES,
            each.name,
            (each.found.large, each.found.rows, each.found.ks),
            f"{each.name} is distributed as in the training of {watched.model}.",
            {"psi": each.found.psi, "ks": each.found.ks, "weight": each.weight},
        )
        for each in watched.columns
        if each.found is not None
    ]
    said = watched.prediction
    if said is not None:
        measured = {"psi": said.psi, "ks": said.ks}
        meaning = f"Predictions of {watched.model} are distributed as at first."
        state = (said.large, said.rows, said.ks)
        found.append(_result(watched, PREDICTIONS, "predictions", state, meaning, measured))
    came = watched.performance
    if came is not None:
        meaning = f"The log loss of {watched.model} is as in its tests."
        measured = {**came.metrics, "tested_log_loss": came.tested["log_loss"]}
        state = (came.worse, came.rows, 1.0 - came.metrics["accuracy"])
        found.append(_result(watched, PREDICTIONS, "performance", state, meaning, measured))
    return found


def _result(
    watched: Watched,
    dataset: str,
    what: str,
    state: tuple[bool, int, float],
    meaning: str,
    measured: Mapping[str, float],
) -> Result:
    failed, rows, part = state
    rule = QualityRule(
        dataset,
        f"drift.{watched.model}.{watched.role}.{what}",
        "model",
        "accuracy" if dataset == PREDICTIONS else "consistency",
        "warning",
        meaning,
        REMEDY,
        str(watched.version),
    )
    at_fault = max(1, round(part * rows)) if failed else 0
    return Result(rule, rows, at_fault, [measured], watched.from_us, watched.to_us)


def _tell(connection: psycopg.Connection, clock: Clock, watched: Sequence[Watched]) -> None:
    """Raise an alert for each champion that somebody should look at, and clear the others."""
    wrong = {
        f"{ALERT}{each.model}": "; ".join(faults)
        for each in watched
        if each.role == CHAMPION and (faults := each.faults())
    }
    for thing, fault in wrong.items():
        raise_alert(connection, clock, thing, fault, REMEDY)
    for alert in open_alerts(connection):
        if alert.thing.startswith(ALERT) and alert.thing not in wrong:
            clear_alert(connection, alert.thing)


def _watched(client: Client, registry: Registry, found: Version, bars: int | None) -> Watched:
    card = registry.stored(found)[1]
    ask = ask_of(card.facts["source"]) if card.facts.get("source") else Ask()
    who = Watched(found.name, found.version, role_of(found), card.facts["release"], ask.interval)
    if fault := unfit(card):
        return replace(who, fault=fault)
    rows = client.arrow(_newest_sql(client, card, ask, bars or _bars(ask.interval)))
    if not rows.num_rows:
        return replace(who, fault="has no row of features that is newer than its training")
    times = rows["event_time"].cast(pa.int64()).to_numpy()
    span = int(times.min()), int(times.max())
    newest = max(span[0], span[1] - WIDTHS_US[ask.interval] * LABELLED_BARS)
    profiles = profiles_of(json.loads(registry.file(found, PROFILES_FILE)))
    weights: dict[str, float] = json.loads(registry.file(found, WEIGHTS_FILE))
    vectors = {name: _finite(rows[name]) for name in card.features}
    return replace(
        who,
        rows=rows.num_rows,
        from_us=span[0],
        to_us=span[1],
        columns=columns_of(vectors, profiles, weights),
        prediction=_prediction(client, found, span, profiles.get(PREDICTION)),
        performance=_performance(client, found, card, ask, (newest, span[1])),
    )


def _finite(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    values = np.asarray(column.drop_null().to_numpy(), np.float64)
    return values[np.isfinite(values)]


def _bars(interval: str) -> int:
    return max(WINDOW_BARS_MIN, WINDOW // timedelta(microseconds=WIDTHS_US[interval]))


def _newest_sql(client: Client, card: Card, ask: Ask, bars: int) -> str:
    """Select the newest rows of features that a version was not trained on, as they stand now."""
    keys = ", ".join(f'"{name}"' for name in KEYS)
    vector = ", ".join(f'"{name}"' for name in card.features)
    width_us = WIDTHS_US[ask.interval]
    after = f"{of_ask(ask)} AND event_time > {quote(card.facts['last_time'])}::TIMESTAMPTZ"
    within = (
        f"{FEATURES} WHERE {after} AND event_time > (SELECT max(event_time) FROM {FEATURES}"
        f" WHERE {after}) - to_microseconds({width_us * bars})"
    )
    count: int = client.arrow(f"SELECT count(*) AS n FROM {within}")["n"][0].as_py()
    every = max(1, -(-count // ROWS_MAX))
    return (
        f"SELECT event_time, {vector} FROM {within}"
        f" AND epoch_us(event_time) // {width_us} % {every} = 0"
        f" QUALIFY row_number() OVER (PARTITION BY {keys}, event_time"
        " ORDER BY available_time DESC, recorded_time DESC) = 1"
    )


def _prediction(
    client: Client, found: Version, span: tuple[int, int], tested: Profile | None
) -> Drift | None:
    """Return how far predictions moved from the tests', else from the version's first ones."""
    said = f"SELECT prediction FROM {PREDICTIONS} WHERE {_by(found)} AND event_time"
    now = client.arrow(f"{said} BETWEEN {_time(span[0])} AND {_time(span[1])}")
    if tested is None:
        query = f"{said} < {_time(span[0])} ORDER BY event_time LIMIT {FIRST_ROWS_MAX}"
        first = client.arrow(query)["prediction"].to_numpy()
        if len(first) < FIRST_ROWS_MIN:
            return None
        tested = profile_of(first)
    return drift(tested, now["prediction"].to_numpy())


def _performance(
    client: Client, found: Version, card: Card, ask: Ask, span: tuple[int, int]
) -> Performance | None:
    """Return how the predictions of a span came out, of those whose label is there."""
    since, until = (utc_from_us(us) for us in (span[0], span[1] + 1))
    try:
        asked = replace(ask, since=since.isoformat(), until=until.isoformat())
        labels = rows_of_release(client, asked)
    except BadInput:
        return None  # no bar is so old that its label is known
    client.duckdb.register("labels", labels)
    rows = client.arrow(
        "SELECT probability_down, probability_flat, probability_up, label_side::BIGINT AS side,"
        f" label_value AS value FROM (SELECT * FROM {PREDICTIONS} WHERE {_by(found)}"
        f" AND event_time BETWEEN {_time(span[0])} AND {_time(span[1])}"
        " QUALIFY row_number() OVER (PARTITION BY ticker, exchange, market, event_time"
        " ORDER BY features_time) = 1)"
        " JOIN labels USING (ticker, exchange, market, event_time) ORDER BY event_time"
    )
    client.duckdb.unregister("labels")
    columns = [rows[f"probability_{side}"].to_numpy() for side in ("down", "flat", "up")]
    sides, values = rows["side"].to_numpy(), rows["value"].to_numpy()
    return performance(np.column_stack(columns), sides, values, card.metrics)


def _by(found: Version) -> str:
    return f"model = {quote(found.name)} AND model_version = {found.version}"


def _time(us: int) -> str:
    return f"{quote(utc_from_us(us).isoformat())}::TIMESTAMPTZ"

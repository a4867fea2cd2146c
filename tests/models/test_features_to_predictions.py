"""Issue 6, parts 9 and 10: what a version says of a row is kept once, with vector and reason."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from feature_repo.models.predictions import REST, Speaker, as_json, prediction_rows
from flows.features_to_predictions import score
from flows.registry_to_ml_models import publish
from lake.errors import BadInput
from lake.hot.numbered import append
from lake.steps import LostAnswer, Steps
from tests.conftest import Databases
from tests.models.watched_house import FEATURES, WatchedHouse, watched_house

SECOND = "model = 'second'"
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture(scope="module")
def house(
    databases: Databases, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WatchedHouse]:
    with watched_house(databases, migrated_template, tmp_path_factory.mktemp("home")) as house:
        yield house


def said(house: WatchedHouse, name: str) -> list[str]:
    """Have all versions speak; return what is told of those of a model."""
    found = score(house.dsn, house.place, house.registry, house.clock, rows_max=500)
    return [each.line() for each in found if each.name == name]


def test_versions_in_use_speak_once_of_what_came_after_their_training(house: WatchedHouse) -> None:
    first, second = house.train("champion"), house.train("challenger", seed=2)
    house.train()  # no role: it says nothing
    before = said(house, "direction")  # the last five bars of the release had no label
    assert before == [
        "direction 1, champion: 5 predictions",
        "direction 2, challenger: 5 predictions",
    ]
    house.more(700)
    for left in ("500 predictions, more to come", "200 predictions", "0 predictions"):
        assert [line.split(": ")[1] for line in said(house, "direction")] == [left] * 2
    for view in ("model_predictions", "lake.model_predictions"):
        rows = house.rows(f"FROM {view}").to_pylist()
        keys = {(row["model_version"], row["event_time"], row["features_time"]) for row in rows}
        assert len(rows) == len(keys) == 2 * 705
    model, _ = house.registry.load(first)
    mine = [row for row in rows if row["model_version"] == first.version]
    vectors = np.array([[json.loads(row["features"])[n] for n in FEATURES] for row in mine])
    probabilities = model.probabilities(vectors)
    for n, row in enumerate(mine):
        assert (row["role"], row["release"], row["source"]) == ("champion", "first", "batch")
        told = [row[f"probability_{side}"] for side in ("down", "flat", "up")]
        assert told == probabilities[n].tolist()  # the vector gives the same bits again
        assert row["prediction"] == told[2] - told[0]
        assert row["confidence"] == max(told)
        parts = json.loads(row["contributions"])
        assert list(parts) == [*FEATURES, REST]
        assert sum(parts.values()) == pytest.approx(np.log(told[2] / told[0]), abs=1e-9)
        assert row["available_time"] >= row["features_time"]
    assert {row["role"] for row in rows if row["model_version"] == second.version} == {"challenger"}
    held = house.rows(
        "SELECT f.event_time, f.return_1 FROM features_market AS f JOIN model_predictions AS p"
        " ON f.event_time = p.event_time WHERE p.model_version = 1"
        " AND f.return_1 <> (p.features->>'return_1')::DOUBLE"
    )
    assert held.num_rows == 0


def test_a_run_that_dies_and_a_live_path_that_is_first_leave_each_row_once(
    house: WatchedHouse,
) -> None:
    version = house.train("champion", name="second")
    while "more" in said(house, "second")[0]:
        continue
    before = house.rows(f"SELECT count(*) AS n FROM model_predictions WHERE {SECOND}")["n"][0]
    house.more(50)
    steps = Steps.parse("model.predicted=lost-answer@3")  # after those of direction
    with pytest.raises(LostAnswer):
        score(house.dsn, house.place, house.registry, house.clock, steps=steps)
    assert said(house, "second") == ["second 1, champion: 0 predictions"]
    house.more(10)
    model, _ = house.registry.load(version)
    live = house.rows(
        'SELECT ticker, exchange, market, "interval", event_time, available_time AS features_time,'
        f" recorded_time AS features_recorded_time, {', '.join(FEATURES)} FROM features_market"
        " ORDER BY event_time DESC LIMIT 4"
    )
    speaker = Speaker("second", version.version, "champion", "first")
    rows = prediction_rows(model, speaker, live, house.clock, source="live", explained=False)
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        append(connection, "model_predictions", rows)
        with pytest.raises(psycopg.errors.UniqueViolation):
            append(connection, "model_predictions", rows)
    assert said(house, "second") == ["second 1, champion: 6 predictions"]
    by = house.rows(
        f"SELECT source, count(*) AS n, count(DISTINCT event_time) AS bars FROM model_predictions"
        f" WHERE {SECOND} GROUP BY 1 ORDER BY 1"
    )
    made = before.as_py() + 56
    assert by["n"].to_pylist() == by["bars"].to_pylist() == [made, 4]


def test_the_registry_is_a_table_that_follows_it(house: WatchedHouse) -> None:
    publish(house.dsn, house.place, house.registry, house.clock)
    first = house.train("champion", name="third")
    house.train("challenger", name="third")
    assert publish(house.dsn, house.place, house.registry, house.clock) == 2
    assert publish(house.dsn, house.place, house.registry, house.clock) == 0
    house.registry.set_role("third", 2, "champion")
    assert publish(house.dsn, house.place, house.registry, house.clock) == 2
    rows = house.rows("FROM ml_models WHERE model = 'third' ORDER BY model_version").to_pylist()
    assert [row["roles"] for row in rows] == ["", "champion, challenger"]
    assert json.loads(rows[0]["metrics"]) == dict(house.registry.load(first)[1].metrics)
    history = house.rows(
        "SELECT roles FROM lake.ml_models WHERE model = 'third' AND model_version = 1"
        " ORDER BY row_no"
    )
    assert history["roles"].to_pylist() == ["champion", ""]


@given(arrays.arrays(np.float64, (3, 2), elements=FINITE))
def test_a_vector_read_back_has_the_same_bits(values: np.ndarray) -> None:
    back = [list(json.loads(text).values()) for text in as_json(("a", "b"), values).to_pylist()]
    assert np.array(back, np.float64).tobytes() == values.tobytes()


def test_what_can_t_be_said_is_one_sentence(house: WatchedHouse) -> None:
    model, _ = house.registry.load(house.train(name="fourth"))
    speaker = Speaker("fourth", 1, "shadow", "first")
    with pytest.raises(BadInput, match="rows to predict: have no ticker"):
        prediction_rows(model, speaker, house.rows("SELECT 1"), house.clock)
    assert said(house, "fourth") == []

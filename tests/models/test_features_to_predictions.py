"""Issue 6, parts 9 and 10: what a version says of a row is kept once, with vector and reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

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
from tests.models.watched_house import BARS_AFTER, BARS_TRAINED, FEATURES, WatchedHouse

ALL = BARS_TRAINED + BARS_AFTER
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[WatchedHouse]:
    house = WatchedHouse(migrated_dsn, tmp_path / "warehouse")
    house.begin(tmp_path)
    yield house
    house.close()


def said(house: WatchedHouse) -> list[str]:
    found = score(house.dsn, house.place, house.registry, house.clock, rows_max=500)
    return [each.line() for each in found]


def test_versions_in_use_speak_once_of_what_came_after_their_training(house: WatchedHouse) -> None:
    first, second = house.train("champion"), house.train("challenger", seed=2)
    house.train()  # no role: it says nothing
    before = said(house)  # the newest five bars of the release had no label to train on
    assert before == [f"direction {n}, {role}: 5 predictions" for n, role in enumerate_roles()]
    house.bars(BARS_TRAINED, BARS_TRAINED + 700)
    assert [line.split(": ")[1] for line in said(house)] == ["500 predictions, more to come"] * 2
    assert [line.split(": ")[1] for line in said(house)] == ["200 predictions"] * 2
    assert [line.split(": ")[1] for line in said(house)] == ["0 predictions"] * 2
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


def enumerate_roles() -> list[tuple[int, str]]:
    return [(1, "champion"), (2, "challenger")]


def test_a_run_that_dies_and_a_live_path_that_is_first_leave_each_row_once(
    house: WatchedHouse,
) -> None:
    version = house.train("champion")
    house.bars(BARS_TRAINED, BARS_TRAINED + 50)
    steps = Steps.parse("model.predicted=lost-answer@1")
    with pytest.raises(LostAnswer):
        score(house.dsn, house.place, house.registry, house.clock, steps=steps)
    assert said(house) == ["direction 1, champion: 0 predictions"]
    house.bars(BARS_TRAINED + 50, BARS_TRAINED + 60)
    model, _ = house.registry.load(version)
    live = house.rows(
        'SELECT ticker, exchange, market, "interval", event_time, available_time AS features_time,'
        f" recorded_time AS features_recorded_time, {', '.join(FEATURES)} FROM features_market"
        " ORDER BY event_time DESC LIMIT 4"
    )
    speaker = Speaker("direction", version.version, "champion", "first")
    rows = prediction_rows(model, speaker, live, house.clock, source="live", explained=False)
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        append(connection, "model_predictions", rows)
        with pytest.raises(psycopg.errors.UniqueViolation):
            append(connection, "model_predictions", rows)
    assert said(house) == ["direction 1, champion: 6 predictions"]
    found = house.rows("SELECT source, count(*) AS n FROM model_predictions GROUP BY 1 ORDER BY 1")
    assert found.to_pylist() == [{"source": "batch", "n": 61}, {"source": "live", "n": 4}]


def test_the_registry_is_a_table_that_follows_it(house: WatchedHouse) -> None:
    first = house.train("champion")
    house.train("challenger")
    assert publish(house.dsn, house.place, house.registry, house.clock) == 2
    assert publish(house.dsn, house.place, house.registry, house.clock) == 0
    house.registry.set_role("direction", 2, "champion")
    assert publish(house.dsn, house.place, house.registry, house.clock) == 2
    now = "SELECT model_version, roles, release, metrics FROM ml_models ORDER BY 1"
    rows = house.rows(now).to_pylist()
    assert [row["roles"] for row in rows] == ["", "champion, challenger"]
    assert json.loads(rows[0]["metrics"]) == dict(house.registry.load(first)[1].metrics)
    history = house.rows("SELECT roles FROM lake.ml_models WHERE model_version = 1 ORDER BY row_no")
    assert history["roles"].to_pylist() == ["champion", ""]


@given(arrays.arrays(np.float64, (3, 2), elements=FINITE))
def test_a_vector_read_back_has_the_same_bits(values: np.ndarray) -> None:
    back = [list(json.loads(text).values()) for text in as_json(("a", "b"), values).to_pylist()]
    assert np.array(back, np.float64).tobytes() == values.tobytes()


def test_what_can_t_be_said_is_one_sentence(house: WatchedHouse) -> None:
    version = house.train()
    model, _ = house.registry.load(version)
    with pytest.raises(BadInput, match="rows to predict: have no ticker"):
        prediction_rows(model, Speaker("m", 1, "shadow", "r"), house.rows("SELECT 1"), house.clock)
    assert said(house) == []

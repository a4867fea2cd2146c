"""What a version that looks at windows says: once a row, of a training's windows, torch or none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from feature_repo.models.learner import recipe_of
from feature_repo.models.registry import Version
from feature_repo.models.rows import rows_of
from flows.features_to_drift import look
from flows.features_to_predictions import score
from flows.release_to_training_rows import rows_of_release
from lake.clock import utc_from_us
from tests.conftest import Databases
from tests.features.bars import walk
from tests.models.watched_house import ASK, BARS, FEATURES, WatchedHouse, watched_house

pytest.importorskip("torch", reason="torch is an extra: make test-stack installs it")
RECIPE = recipe_of("sequence", {"rounds": 2, "patience": 2, "levels": 3, "channels": 8})
WINDOW = 8
GAP = timedelta(days=2)
LOOKBACK = 30
"""Bars that a series needs before all of FEATURES are there."""


@pytest.fixture(scope="module")
def house(
    databases: Databases, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WatchedHouse]:
    with watched_house(databases, migrated_template, tmp_path_factory.mktemp("home")) as house:
        yield house


@pytest.fixture(scope="module")
def version(house: WatchedHouse) -> Version:
    """Return a version with a role, beside one of trees that comes after it."""
    house.train("champion", name="trees")
    return house.train("champion", name="sequence", recipe=RECIPE)


def said(house: WatchedHouse) -> list[str]:
    found = score(house.dsn, house.place, house.registry, house.clock, rows_max=500)
    return [each.line() for each in found]


def windows(house: WatchedHouse, where: str) -> tuple[pa.Table, np.ndarray]:
    """Return what was said, oldest bar first, and the windows as they read back."""
    rows = house.rows(
        f"FROM model_predictions WHERE model = 'sequence' AND {where}"
        " ORDER BY event_time, features_time"
    )
    vectors = [json.loads(text) for text in rows["features"].to_pylist()]
    assert all(list(each) == list(FEATURES) for each in vectors)
    found = np.array([[each[name] for name in FEATURES] for each in vectors], np.float64)
    return rows, found.transpose(0, 2, 1)


def later(rows: pa.Table, by: timedelta) -> pa.Table:
    """Return bars so much later."""
    for name in ("event_time", "first_time", "last_time", "received_time"):
        at = rows.column_names.index(name)
        moved = pc.add(rows[name], pa.scalar(by, pa.duration("us")))
        rows = rows.set_column(at, rows.schema.field(at), moved)
    return rows


def test_each_row_is_said_once_with_the_window_that_training_would_have(
    house: WatchedHouse, version: Version
) -> None:
    assert said(house) == [
        "sequence 1, champion: 5 predictions",
        "trees 1, champion: 5 predictions",
    ]
    house.more(520)
    assert said(house)[0] == "sequence 1, champion: 500 predictions, more to come"
    assert said(house)[0] == "sequence 1, champion: 20 predictions"
    assert said(house)[0] == "sequence 1, champion: 0 predictions"
    rows, found = windows(house, "true")
    assert rows.num_rows == 525
    rows_known = rows_of(rows_of_release(house.client, ASK), FEATURES)
    taught = RECIPE.samples(rows_known)
    places = np.flatnonzero(np.isin(taught.rows.event_us, rows["event_time"].cast(pa.int64())))
    assert len(places) == 520  # the newest five have no label
    assert found[:520].tobytes() == taught.features(places).tobytes()
    model, _ = house.registry.load(version)
    told = rows.select(["probability_down", "probability_flat", "probability_up"]).to_pandas()
    np.testing.assert_allclose(model.probabilities(found), told.to_numpy(), atol=1e-6)
    parts = json.loads(rows["contributions"][0].as_py())
    first = told.to_numpy()[0]
    assert sum(parts.values()) == pytest.approx(np.log(first[2] / first[0]), abs=1e-4)
    watched = next(
        each
        for each in look(house.dsn, house.place, house.registry, house.clock).watched
        if each.model == "sequence"
    )
    assert watched.fault == ""
    assert watched.rows == 525


def test_a_correction_is_said_again_with_the_rows_before_it_as_they_first_stood(
    house: WatchedHouse, version: Version
) -> None:
    said(house)
    old, before = windows(house, "true")
    bar = BARS.slice(house.bars - 3, 1)
    row = bar.to_pylist()[0]
    received = utc_from_us(house.clock.now_us())
    mended = {**row, "close": row["high"], "vwap": row["high"], "received_time": received}
    house.publish(pa.Table.from_pylist([mended], bar.schema), bar)
    house.more(0)
    assert said(house)[0] == "sequence 1, champion: 3 predictions"
    assert said(house)[0] == "sequence 1, champion: 0 predictions"
    new, after = windows(house, f"row_no > {max(old['row_no'].to_pylist())}")
    assert new["event_time"].to_pylist() == old["event_time"].to_pylist()[-3:]
    assert after[:, :-1].tobytes() == before[-3:, :-1].tobytes()
    assert (after[:, -1] != before[-3:, -1]).any(axis=1).all()


def test_a_young_series_is_silent_until_it_has_a_window_and_a_gap_is_looked_past(
    house: WatchedHouse, version: Version
) -> None:
    made = walk(LOOKBACK + WINDOW + 2, ticker="X:ETHUSD", gaps=0, seed=3)
    rows = later(made, GAP)
    house.publish(rows.slice(0, LOOKBACK + WINDOW - 1))
    house.more(0)
    assert said(house) == [
        "sequence 1, champion: 0 predictions",
        "trees 1, champion: 7 predictions",
    ]
    house.publish(later(rows.slice(LOOKBACK + WINDOW - 1), GAP))
    house.more(0)
    assert said(house)[0] == "sequence 1, champion: 3 predictions"


def test_without_torch_one_sentence_names_the_version_and_the_others_speak(
    house: WatchedHouse, version: Version
) -> None:
    said(house)
    house.more(10)
    script = (
        "import sys\n"
        "class No:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'torch':\n"
        "            raise ModuleNotFoundError('no torch', name='torch')\n"
        "sys.meta_path.insert(0, No())\n"
        "from pathlib import Path\n"
        "from feature_repo.models.registry import Registry\n"
        "from feature_repo.models.registry_place import registry_place\n"
        "from flows.features_to_predictions import score\n"
        "from lake.clock import SystemClock\n"
        "from lake.warehouse import warehouse_of\n"
        "registry = Registry(registry_place(Path(sys.argv[2])))\n"
        "place = warehouse_of(Path(sys.argv[2]))\n"
        "print(*(each.line() for each in score(sys.argv[1], place, registry, SystemClock())), "
        "sep='\\n')\n"
    )
    words = [sys.executable, "-W", "ignore", "-c", script, house.dsn, str(house.home)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()[-2:]
    assert first.startswith("sequence 1, champion: torch: is not installed: pip install")
    assert second == "trees 1, champion: 10 predictions"
    assert said(house)[0] == "sequence 1, champion: 10 predictions"

"""Issue 7, part 2: what a model saw live is the lake's row, bit for bit, and the audit says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from feature_repo.models.predictions import US, Speaker, prediction_rows
from flows.live_to_quality import REACH_US, compare_live
from flows.online_to_quality import LIVE_ALERT, OnlineToQuality, Run
from lake.hot.alerts import open_alerts
from lake.hot.numbered import append
from lake.quality import book
from tests.conftest import Databases
from tests.models.watched_house import FEATURES, WatchedHouse, watched_house

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def made(
    databases: Databases, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WatchedHouse]:
    with watched_house(databases, migrated_template, tmp_path_factory.mktemp("home")) as house:
        house.more(40)
        yield house


@pytest.fixture
def house(made: WatchedHouse) -> WatchedHouse:
    """Return the house an hour after what was said in it before."""
    made.clock.advance(REACH_US + 1)
    return made


def newest(house: WatchedHouse, count: int) -> pa.Table:
    """Return the lake's newest rows as a live model has them, whose vectors are made now."""
    rows = house.rows(
        'SELECT ticker, exchange, market, "interval", event_time, available_time AS features_time,'
        f" recorded_time AS features_recorded_time, {', '.join(FEATURES)} FROM features_market"
        f" ORDER BY event_time DESC LIMIT {count}"
    )
    return put(rows, "features_recorded_time", [house.clock.now_us()] * count)


def put(rows: pa.Table, name: str, values: list[object]) -> pa.Table:
    at = rows.column_names.index(name)
    kind = US if name.endswith("_time") else rows.schema.field(at).type
    return rows.set_column(at, name, pa.array(values, kind))


def later(rows: pa.Table, name: str, by: timedelta) -> pa.Table:
    return put(rows, name, [each + by for each in rows[name].to_pylist()])


def say(house: WatchedHouse, rows: pa.Table) -> None:
    """Keep what a model says of rows, live."""
    version = house.train("champion")
    model, _ = house.registry.load(version)
    speaker = Speaker("direction", version.version, "champion", "first")
    said = prediction_rows(model, speaker, rows, house.clock, source="live", explained=False)
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        append(connection, "model_predictions", said)


def audit(house: WatchedHouse, url: str) -> Run:
    with OnlineToQuality(house.dsn, house.place, url, clock=house.clock, views=()) as made:
        return made.step()


def test_a_live_vector_of_another_bit_is_found_told_and_over_when_it_is_long_ago(
    house: WatchedHouse, valkey_url: str
) -> None:
    rows = newest(house, 5)
    say(house, rows.slice(1))
    run = audit(house, valkey_url)
    assert (run.live.result.checked, run.live.result.failed, run.broken) == (4, 0, None)
    bit = rows["rsi_14"].to_numpy()[:1].copy()
    bit.view(np.int64)[0] ^= 1
    say(house, put(rows.slice(0, 1), "rsi_14", bit.tolist()))
    run = audit(house, valkey_url)
    assert (run.live.result.checked, run.live.result.failed) == (5, 1)
    assert run.broken is run.live.result
    [fault] = run.live.result.rows
    assert fault["fault"] == "other bits in rsi_14"
    assert (fault["event_time"], fault["model"]) == (rows["event_time"][0].as_py(), "direction")
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        assert [alert.thing for alert in open_alerts(connection)] == [LIVE_ALERT]
        failed = [row for row in book.of_run(connection, run.number) if row["status"] == "failed"]
        assert [row["rule"] for row in failed] == ["live_vectors_equal_lake"]
        house.clock.advance(REACH_US + 1)
        assert audit(house, valkey_url).live.result.checked == 0
        assert open_alerts(connection) == []


def test_what_was_corrected_since_or_is_ahead_of_the_lake_is_left_out_and_counted(
    house: WatchedHouse,
) -> None:
    rows = newest(house, 3)
    say(house, later(rows.slice(0, 1), "event_time", MINUTE))
    say(house, later(rows.slice(1, 1), "features_time", -SECOND))
    say(house, later(rows.slice(2, 1), "features_time", SECOND))
    found = compare_live(house.client, house.clock.now_us())
    assert (found.ahead, found.corrected, found.result.checked) == (1, 1, 1)
    [fault] = found.result.rows
    assert fault["fault"].startswith("the lake's row was known at ")
    assert "1 ahead of the lake, 1 corrected since" in found.line()


def test_a_sample_is_of_the_last_hour_s_however_many_there_are_of_before(
    house: WatchedHouse,
) -> None:
    say(house, newest(house, 30))
    house.clock.advance(REACH_US + 1)
    say(house, newest(house, 3))
    for sample_max, checked in ((2, 2), (30, 3)):
        found = compare_live(house.client, house.clock.now_us(), sample_max).result
        assert (found.checked, found.failed) == (checked, 0)


def test_of_a_window_the_newest_row_is_held_against_the_lake(house: WatchedHouse) -> None:
    rows = newest(house, 2)
    say(house, rows)
    for newer, failed in ((0, 0), (1, 2)):
        with psycopg.connect(house.dsn, autocommit=True) as connection:
            connection.execute("ALTER TABLE market.model_predictions DISABLE TRIGGER ALL")
            for row in house.rows("SELECT row_no, features FROM hot.model_predictions").to_pylist():
                vector = json.loads(row["features"])
                window = {
                    name: [9.0, (each[1] if isinstance(each, list) else each) + newer]
                    for name, each in vector.items()
                }
                connection.execute(
                    "UPDATE market.model_predictions SET features = %s WHERE row_no = %s",
                    (json.dumps(window), row["row_no"]),
                )
        found = compare_live(house.client, house.clock.now_us()).result
        assert (found.checked, found.failed) == (2, failed)

"""Issue 5: an operator sees how far a long flow is, by what is done of all there is to do."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prefect import Flow

from flows.bars_to_labels import label_bars
from flows.every_feature_set import every_set
from flows.rows_to_quality import RowsToQuality
from flows.scheduled.alerts import promises_to_alerts
from flows.scheduled.schedules import SCHEDULES
from lake.clock import ManualClock
from lake.parts import Through, by_parts, within
from tests.bars.test_trades_to_bars import EVENING, US
from tests.bars.trading import EPOCH, NOON, trades
from tests.retention.test_retention import LEFT_HOT, LEFT_LAKE, OldHouse

AT_ONCE = {promises_to_alerts.name: "a look of seconds at what stands in a few tables"}
"""Flows whose work has no parts that anybody could wait for."""


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[OldHouse]:
    house = OldHouse(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    for day in range(3):
        house.take(trades(day, 1 + 100 * day, count=60, start=NOON + timedelta(days=day)))
    house.commit()
    yield house
    house.close()


def rises(shown: list[float], parts: int) -> bool:
    """Tell whether it went up to 1 in so many parts or more."""
    return shown == sorted(shown) and len(set(shown)) >= parts and shown[-1] == pytest.approx(1)


@pytest.mark.parametrize("flow", [each.flow for each in SCHEDULES], ids=lambda flow: flow.name)
def test_every_flow_shows_parts_of_its_work(flow: Flow) -> None:
    """What is in one piece for the flow is told its parts by whoever does it."""
    text = inspect.getsource(flow.fn)
    assert re.search(r"in_one\([^)]*\) as show:|Progress\(", text) or flow.name in AT_ONCE


def test_parts_add_up_whatever_lies_within_what() -> None:
    shown: list[float] = []
    for outer in by_parts((0, 1), within(shown.append, 0.5, 1.0)):
        assert list(by_parts("ab", within(shown.append, 0.5 * outer, 0.5 * (outer + 1)))) == [
            "a",
            "b",
        ]
    assert shown == [0.25, 0.5, 0.75, 0.75, 1.0, 1.0]
    assert list(by_parts((), shown.append)) == []
    assert len(shown) == 6


def test_frames_count_from_where_a_mover_began() -> None:
    shown: list[float] = []
    through, last = Through(shown.append), {0: 100, 1: 50}
    through.span({0: 50}, {0: 75}, last)(1.0)
    through.span({0: 75}, {0: 100, 1: 50}, last)(0.5)
    through.span({0: 100, 1: 50}, {}, last)(1.0)
    assert shown == [0.25, 0.625, 1.0]
    Through(shown.append).span({0: 100, 1: 50}, {}, last)(0.5)
    assert shown[-1] == 0.5, "where nothing waited, a step is the whole"


def test_bars_show_the_frames_and_the_days_that_are_done(house: OldHouse) -> None:
    now = EVENING + timedelta(days=3)
    first, last = ((NOON + timedelta(days=n) - EPOCH) // US for n in (-1, 4))
    shown: list[float] = []
    with house.bars(now, rows_max=40) as bars:
        bars.drain(shown.append)
    assert rises(shown, 3)
    shown.clear()
    with house.bars(now) as bars:
        bars.rebuild(first, last, shown.append)
    assert rises(shown, 3)


def test_features_labels_and_quality_show_sets_series_and_datasets(house: OldHouse) -> None:
    now = EVENING + timedelta(days=3)
    house.make(now)
    clock = ManualClock((now - EPOCH) // US)
    shown: list[float] = []
    every_set(house.dsn, house.place, clock=clock, show=shown.append)
    assert rises(shown, 4)
    shown.clear()
    label_bars(house.dsn, house.place, clock, rows_max=50, show=shown.append)
    assert rises(shown, 3)
    shown.clear()
    with RowsToQuality(house.dsn, house.place, clock=clock, rows_max=60) as checks:
        checks.drain(shown.append)
        assert rises(shown, 10)
        shown.clear()
        checks.again((NOON - EPOCH) // US, (EVENING - EPOCH) // US, shown.append)
        assert rises(shown, 9)


def test_retention_shows_days_of_each_tier(house: OldHouse) -> None:
    house.roll()
    house.look(LEFT_HOT - timedelta(hours=1))
    shown: list[float] = []
    assert len(house.retention(LEFT_HOT).run(shown.append).moved) == 3
    assert shown == sorted(shown)
    assert len(set(shown)) >= 3
    shown.clear()
    found = house.retention(LEFT_LAKE + timedelta(days=9)).run(shown.append)
    assert len([each for each in found.moved if each.gone]) == 3
    assert shown == sorted(shown)
    assert len(set(shown)) >= 3
    assert 0.4 < shown[-1] <= 0.9, "what is left is to measure the tiers"

"""Features in a real lakehouse: what a change of bars changes, from when on, kill by kill."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from feature_repo.compute import features_of
from feature_repo.feature_set import MARKET
from flows.feature_maker import Step
from lake.contracts.contract import load
from lake.errors import TicklakeError
from lake.steps import Steps
from tests.features.house import BARS, MINUTES, NOW, ROWS, VALUES, House


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[House]:
    house = House(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    yield house
    house.close()


def values(house: House, query: str = "FROM features_market") -> pa.Table:
    columns = f'ticker, exchange, market, "interval", event_time, {VALUES}'
    found = house.rows(f"SELECT {columns} FROM ({query}) ORDER BY ticker, event_time")
    return found.cast(features_of(BARS, MARKET).schema)


def test_the_table_holds_what_the_definitions_say() -> None:
    columns = load("features_market").names
    assert list(columns[9:]) == MARKET.names


def test_new_bars_give_what_features_of_gives_and_nothing_new_adds_nothing(house: House) -> None:
    house.publish(BARS.slice(0, 700))
    assert house.make().put == 700
    assert house.make() == Step(0, 0)
    house.publish(BARS.slice(700))
    assert house.make(rows_max=1).put == BARS.num_rows - 700
    assert values(house).equals(features_of(BARS, MARKET))
    arrivals = house.rows("SELECT DISTINCT arrival, set_version FROM features_market")
    assert arrivals.to_pylist() == [{"arrival": "live", "set_version": 1}]


def late(at: int, by: timedelta) -> tuple[pa.Table, pa.Table, datetime]:
    """Return a bar, the same with a late tick in it, and when that tick was received."""
    old = BARS.slice(at, 1)
    row = old.to_pylist()[0]
    received = row["event_time"] + by
    changed = {**row, "close": row["high"], "received_time": received}
    return old, pa.Table.from_pylist([changed], schema=BARS.schema), received


def test_a_late_tick_adds_what_it_changes_and_both_versions_remain(house: House) -> None:
    house.publish(MINUTES)
    house.make()
    before = values(house)
    old, new, received = late(850, timedelta(hours=3))
    house.publish(new, old)
    assert house.make().put == ROWS - 850
    known_then = f"FROM features_market WHERE available_time < '{received.isoformat()}'"
    assert values(house, known_then).equals(before)
    added = house.rows(
        "SELECT min(event_time) AS first, min(available_time) AS known, count(*) AS n"
        f" FROM features_market WHERE available_time >= '{received.isoformat()}'"
    ).to_pylist()
    ended = old["event_time"][0].as_py() + timedelta(minutes=1)
    assert added == [{"first": ended, "known": received, "n": ROWS - 850}]
    newest = (
        "FROM features_market QUALIFY row_number() OVER (PARTITION BY event_time"
        " ORDER BY available_time DESC, recorded_time DESC) = 1"
    )
    now = pa.concat_tables([MINUTES.slice(0, 850), new, MINUTES.slice(851)])
    assert values(house, newest).equals(features_of(now, MARKET))


def test_history_has_the_latency_of_its_contract(house: House) -> None:
    at = BARS.column_names.index("received_time")
    imported = pa.array([NOW] * 100, BARS.schema.field("received_time").type)
    house.publish(MINUTES.slice(0, 100).set_column(at, BARS.schema.field(at), imported))
    house.make()
    found = house.rows(
        "SELECT DISTINCT arrival, epoch_us(available_time) - epoch_us(event_time) AS after_us"
        " FROM features_market"
    )
    after_us = load("bars").freshness_minutes * 60_000_000
    assert found.to_pylist() == [{"arrival": "history", "after_us": after_us}]


def test_a_late_tick_of_days_after_is_no_history(house: House) -> None:
    house.publish(MINUTES)
    house.make()
    old, new, received = late(ROWS - 1, timedelta(days=3))
    house.publish(new, old)
    house.make()
    found = house.rows(
        "SELECT arrival, available_time FROM features_market ORDER BY available_time DESC LIMIT 1"
    )
    assert found.to_pylist() == [{"arrival": "live", "available_time": received}]


def test_a_bar_that_goes_leaves_a_row_without_values(house: House) -> None:
    house.publish(MINUTES)
    house.make()
    house.publish(MINUTES.slice(0, 0), MINUTES.slice(ROWS - 1, 1))
    assert house.make().put == 1
    found = house.rows("FROM features_market ORDER BY available_time DESC LIMIT 1").to_pylist()[0]
    assert found["available_time"] == NOW
    assert [found[name] for name in MARKET.names] == [None] * len(MARKET.names)


@pytest.mark.parametrize(
    ("point", "arrival"),
    [("lake.pointer", 2), ("lake.committed", 1), ("lake.pointer", 3)],
)
def test_whoever_stops_it_loses_and_doubles_nothing(house: House, point: str, arrival: int) -> None:
    house.publish(BARS)
    with pytest.raises((TicklakeError, OSError)):
        house.make(Steps({point: ("lost-answer", arrival)}))
    house.make()
    assert values(house).equals(features_of(BARS, MARKET))

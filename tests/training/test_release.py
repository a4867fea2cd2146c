"""Issue 6, part 3: a training set of a release is the same file whatever came after."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.clock import SystemClock
from lake.errors import BadInput
from lake.releases.release import create
from lake.training.feature_table import FeatureTable
from lake.training.training_set import training_set
from lake.views.client import Client
from tests.bars.test_trades_to_bars import House
from tests.bars.trading import NOON, Row, trades
from tests.training.stands import training_rows

BARS = FeatureTable(
    "bars",
    ("close", "volume"),
    timedelta(hours=1),
    ("ticker", "exchange", "market"),
    {"interval": "1m"},
    available_time="received_time",
)
PROBES = [
    {"ticker": ticker, "exchange": "sim:1", "market": "spot", "event_time": NOON + minutes}
    for minutes in (timedelta(minutes=n, seconds=n % 60) for n in range(0, 85, 3))
    for ticker in ("X:BTCUSD", "X:ETHUSD")
]


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[House]:
    house = House(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    house.take(trades(1, 1))
    house.commit()
    house.make()
    yield house
    house.close()


def file_of(house: House, release: str | None, out: Path) -> str:
    with Client(house.dsn, house.place, release=release) as client:
        probes = pa.Table.from_pylist(PROBES)
        made = training_set(client, probes, (BARS,), out, lacking="null")
    assert (made.release, made.rows) == (release, len(PROBES))
    return sha256(out.read_bytes()).hexdigest()


def test_late_ticks_after_a_release_change_no_byte_of_its_training_set(
    house: House, tmp_path: Path
) -> None:
    create(house.dsn, house.place, "one", SystemClock())
    bars: list[Row] = house.stored()
    first = file_of(house, "one", tmp_path / "first.parquet")
    found = pq.read_table(tmp_path / "first.parquet").to_pylist()
    assert found == training_rows(PROBES, [(BARS, bars)], "event_time")
    assert any(row["close"] is not None for row in found)
    house.take(trades(2, 201, count=100))
    house.commit()
    house.make()
    assert file_of(house, "one", tmp_path / "again.parquet") == first
    assert file_of(house, None, tmp_path / "now.parquet") != first


def test_a_release_that_ends_before_the_rows_is_named(house: House, tmp_path: Path) -> None:
    create(house.dsn, house.place, "one", SystemClock())
    late = [{**row, "event_time": row["event_time"] + timedelta(days=1)} for row in PROBES]
    with (
        Client(house.dsn, house.place, release="one") as client,
        pytest.raises(BadInput, match="release one: has bars from 2024-08-08 12:00 to"),
    ):
        training_set(client, pa.Table.from_pylist(late), (BARS,), tmp_path / "set.parquet")

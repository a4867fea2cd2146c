"""Issue 5, part 6: a release reads the same on both engines, whatever came after."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.command.main import run
from lake.client import connect
from lake.clock import SystemClock
from lake.errors import Refused, Unavailable, WrongUse
from lake.releases.release import create, drop
from lake.releases.trino_release import (
    DATASETS,
    connect_release,
    publish_release,
    publish_releases,
    schema_of,
    schemas,
    withdraw_release,
)
from lake.tables.catalog import ensure_table
from lake.trino_session import connect_trino
from lake.views.publish import publish
from lake.views.union_view import UNION_DATASETS
from tests.bars.test_trades_to_bars import House
from tests.bars.trading import trades
from tests.stack.emptied import emptied

NAME = "of.two-engines"
COUNT = "SELECT count(*) AS n FROM crypto_trades"


@pytest.fixture
def house(stack: Path) -> Iterator[House]:
    house = House(*emptied(stack))
    for dataset in UNION_DATASETS:
        ensure_table(house.catalog, dataset)
    publish(stack)
    house.start_shard(0)
    house.take(trades(1, 1, count=60))
    house.commit()
    house.make()
    yield house
    with connect_trino(stack) as session:
        withdraw_release(session, NAME)
    house.sql("DELETE FROM market.releases")
    house.close()


def test_both_engines_give_the_rows_of_a_release_after_more_came(
    stack: Path, house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = create(house.dsn, house.place, NAME, SystemClock())
    with connect_trino(stack) as session:
        publish_release(session, NAME, parts)
    house.take(trades(2, 61, count=40))
    house.commit()
    house.make()

    held = 0
    with (
        connect(dsn=house.dsn, warehouse=house.place, release=NAME) as here,
        connect_release(stack, "analyst", NAME) as there,
    ):
        for dataset in DATASETS:
            names = here.arrow(f"FROM {dataset} LIMIT 0").schema.names
            query = f"SELECT * FROM {dataset} ORDER BY {', '.join(map(str, range(1, len(names))))}"
            rows = there.arrow(query)
            assert rows.schema.names == names
            assert rows.to_pylist() == here.arrow(query).to_pylist(), dataset
            held += len(rows)
        with pytest.raises(Refused):
            there.execute("DROP VIEW crypto_trades")
    assert held > 120  # trades, bars and a batch at least

    words = ["sql", COUNT, "--engine", "trino", "--json", "--home", str(stack)]
    assert run([*words, "--release", NAME]) == 0
    assert json.loads(capsys.readouterr().out) == [{"n": 60}]
    with connect_trino(stack) as session:
        assert session.execute("SELECT count(*) FROM lake.market.crypto_trades") == [(100,)]


def test_a_release_made_without_trino_gets_its_views_with_the_next_up(
    stack: Path, house: House
) -> None:
    create(house.dsn, house.place, NAME, SystemClock())
    with pytest.raises(Unavailable, match="run: ticklake up"):
        connect_release(stack, "analyst", NAME)
    publish_releases(stack)
    with connect_release(stack, "analyst", NAME) as there:
        assert there.arrow(COUNT).to_pylist() == [{"n": 60}]


def test_a_dropped_release_has_no_views_and_an_unknown_one_is_named(
    stack: Path, house: House
) -> None:
    parts = create(house.dsn, house.place, NAME, SystemClock())
    with connect_trino(stack) as session:
        publish_release(session, NAME, parts)
        withdraw_release(session, NAME)
        assert schema_of(NAME) not in schemas(session)
    drop(house.dsn, house.place, NAME)
    with pytest.raises(WrongUse, match=f"release {NAME}: no such release"):
        connect_release(stack, "analyst", NAME)

"""Issue 5, part 6: a release is one cut across all tables, and stays so whatever comes after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from lake.clock import SystemClock
from lake.errors import WrongUse
from lake.releases.difference import difference
from lake.releases.release import absent, create, drop, names, parts_of, tag_of
from lake.tables.catalog import open_catalog
from lake.views.client import Client
from tests.bars.test_trades_to_bars import House
from tests.bars.trading import NOON, Row, trades
from tests.quality.house import quote as quoted

CLOCK = SystemClock()


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[House]:
    house = House(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    house.take(trades(1, 1, count=60))
    house.commit()
    house.make()
    yield house
    house.close()


def read(house: House, name: str | None, dataset: str) -> list[Row]:
    with Client(house.dsn, house.place, release=name) as client:
        return list(client.arrow(f"FROM {dataset} ORDER BY ALL").to_pylist())


def listed(house: House) -> list[str]:
    with psycopg.connect(house.dsn) as connection:
        return names(connection)


def test_a_release_reads_the_same_after_more_ticks_and_bars(house: House) -> None:
    parts = create(house.dsn, house.place, "one", CLOCK)
    assert {"crypto_trades", "ingest_batches", "bars"} <= {part.dataset for part in parts}
    assert [part.line() for part in parts if part.missing] == []
    datasets = ("crypto_trades", "bars", "ingest_batches")
    before = {dataset: read(house, "one", dataset) for dataset in datasets}
    assert len(before["crypto_trades"]) == 60
    assert before["bars"]
    house.take(trades(2, 61, count=40))
    house.commit()
    house.make()
    assert {dataset: read(house, "one", dataset) for dataset in datasets} == before
    assert len(read(house, None, "crypto_trades")) == 100
    create(house.dsn, house.place, "two", CLOCK)
    changed = {each.dataset: each for each in difference(house.dsn, house.place, "one", "two")}
    assert (changed["crypto_trades"].only_one, changed["crypto_trades"].only_other) == (0, 40)
    assert changed["bars"].only_one > 0
    assert changed["market_sentiment"].only_other == 0
    assert listed(house) == ["one", "two"]


def test_rows_beyond_the_cut_are_in_no_table_of_the_release(house: House) -> None:
    """The trades' table is ahead of the batches', as between two commits of one round."""
    house.take(trades(2, 61, count=40))
    house.commit(["crypto_trades"])
    create(house.dsn, house.place, "cut", CLOCK)
    assert len(read(house, "cut", "crypto_trades")) == 60
    assert len(read(house, "cut", "ingest_batches")) == 1


def test_a_release_says_which_table_lacks_what(house: House) -> None:
    house.take(trades(2, 61, count=40))
    house.commit(["ingest_batches"])
    parts = {part.dataset: part for part in create(house.dsn, house.place, "early", CLOCK)}
    assert parts["crypto_trades"].missing == "40 rows of crypto_trades of shard 0"
    assert "40 rows of crypto_trades" in str(parts["bars"].missing)
    with psycopg.connect(house.dsn) as connection:
        stored = {part.dataset: part for part in parts_of(connection, "early")}
    assert stored == parts


def test_a_release_says_which_tables_are_not_in_it_at_all(house: House) -> None:
    """Quotes that the ledger knows of and no table of the lake has; features that nobody made."""
    place = {"shard": 0, "seq": (house.frames[0] + 1) << 16}
    house.take([{**quoted(NOON), **place}], "crypto_quotes")
    house.commit(["ingest_batches"])
    lacking = absent(house.dsn, create(house.dsn, house.place, "early", CLOCK))
    assert lacking["crypto_quotes"] == "the lake has none of it, for 1 rows of crypto_quotes"
    assert lacking["features_market"].startswith("the lake has none of it, for ")
    assert lacking["funding_rates"] == "nothing of it yet"
    assert not {"crypto_trades", "bars", "ingest_batches"} & set(lacking)


def test_a_dropped_release_is_gone_with_its_tags_and_a_name_is_taken_once(house: House) -> None:
    create(house.dsn, house.place, "one", CLOCK)
    with pytest.raises(WrongUse, match="is there already"):
        create(house.dsn, house.place, "one", CLOCK)
    with pytest.raises(WrongUse, match="is no name"):
        create(house.dsn, house.place, "No name", CLOCK)
    assert drop(house.dsn, house.place, "one") > 0
    assert listed(house) == []
    with closing(open_catalog(house.dsn, house.place)) as catalog:
        assert tag_of("one") not in catalog.load_table(("market", "bars")).metadata.refs
    with pytest.raises(WrongUse, match="no such release"):
        drop(house.dsn, house.place, "one")
    with pytest.raises(WrongUse, match="no such release"):
        read(house, "one", "bars")


def test_tags_of_a_run_that_died_are_replaced(house: House) -> None:
    table = house.table("crypto_trades")
    old = table.metadata.current_snapshot_id
    assert old is not None
    table.manage_snapshots().create_tag(old, tag_of("one")).commit()
    house.take(trades(2, 61, count=40))
    house.commit()
    create(house.dsn, house.place, "one", CLOCK)
    assert len(read(house, "one", "crypto_trades")) == 100


def test_a_release_says_which_table_saw_ticks_beyond_the_cut(house: House) -> None:
    """Bars are made of the hot tier too, and may be there before the ticks are in the lake."""
    house.take(trades(2, 61, count=40))
    house.make()
    parts = {part.dataset: part for part in create(house.dsn, house.place, "eager", CLOCK)}
    assert parts["bars"].ahead == "40 rows of crypto_trades of shard 0"
    assert parts["bars"].line().endswith("ahead of the cut by 40 rows of crypto_trades of shard 0")
    assert [name for name, part in parts.items() if part.ahead and name != "bars"] == []
    assert len(read(house, "eager", "crypto_trades")) == 60
    with psycopg.connect(house.dsn) as connection:
        assert {part.dataset: part.ahead for part in parts_of(connection, "eager")} == {
            name: part.ahead for name, part in parts.items()
        }
    house.commit()
    create(house.dsn, house.place, "even", CLOCK)
    with psycopg.connect(house.dsn) as connection:
        assert [part.ahead for part in parts_of(connection, "even") if part.ahead] == []

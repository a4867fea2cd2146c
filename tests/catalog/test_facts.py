"""The catalog's facts are what the stores hold: rows, sizes, newest rows, checks, runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from infra.catalog.facts import CHECKS_MAX, SAMPLE_ROWS_MAX, checks_by_dataset, facts_of
from lake.contracts.contract import DATASETS, load
from lake.errors import Unavailable
from tests.bars.test_trades_to_bars import EVENING, House
from tests.bars.trading import trades

RESULTS = """
DROP TABLE IF EXISTS market.quality_results CASCADE;
CREATE TABLE market.quality_results (run_id bigint, dataset text, rule text,
  severity text, status text, rows_checked bigint, rows_failed bigint, checked_time timestamptz)
"""


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[House]:
    house = House(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    house.take(trades(1, 1, count=60))
    house.commit()
    house.make()
    yield house
    house.close()


def test_facts_are_what_the_stores_hold(house: House) -> None:
    contracts = [load(name) for name in DATASETS]
    found = facts_of(contracts, house.dsn, house.dsn, house.place, EVENING)
    assert set(found) == set(DATASETS)
    assert {name: each.missing for name, each in found.items() if each.missing} == {}
    ticks, bars = found["crypto_trades"], found["bars"]
    assert ticks.lake is not None
    assert ticks.lake.rows == 60
    assert ticks.hot_bytes
    assert ticks.newest is not None
    assert ticks.lag_s == (EVENING - ticks.newest).total_seconds()
    assert ticks.sample is not None
    names, rows = ticks.sample
    assert (tuple(names), len(rows)) == (load("crypto_trades").names, SAMPLE_ROWS_MAX)
    at = names.index("event_time")
    assert [row[at] for row in rows] == sorted((row[at] for row in rows), reverse=True)
    assert bars.hot_bytes is None
    assert [run.job for run in bars.runs] == ["trades_to_bars", "trades_to_bars"]
    assert bars.runs[0].snapshot_id == house.table("bars").metadata.current_snapshot_id
    assert found["market_sentiment"].sample is None


def test_checks_are_read_where_there_is_a_table_of_them(migrated_dsn: str) -> None:
    with psycopg.connect(migrated_dsn) as connection:
        connection.execute(RESULTS)
        connection.execute(
            "INSERT INTO market.quality_results (run_id, dataset, rule, severity, status,"
            " rows_checked, rows_failed, checked_time)"
            " VALUES (1, 'bars', 'volume_adds_up', 'error', 'failed', 10, 2, '2024-08-08 12:00+00')"
        )
        connection.execute("SET TimeZone = 'UTC'")
        (check,) = checks_by_dataset(connection)["bars"]
    assert (check.rule, check.passed, check.rows_failed) == ("volume_adds_up", False, 2)
    assert check.at == datetime(2024, 8, 8, 12, tzinfo=UTC)


def test_rules_that_are_seldom_asked_are_shown_beside_those_of_every_minute(
    migrated_dsn: str,
) -> None:
    with psycopg.connect(migrated_dsn) as connection:
        connection.execute(RESULTS)
        for dataset, rule, count in (("bars", "often", 3_000), ("bars", "once", 1), ("a", "x", 2)):
            connection.execute(
                "INSERT INTO market.quality_results (run_id, dataset, rule, severity, status,"
                " rows_checked, rows_failed, checked_time)"
                " SELECT n, %s, %s, 'error', 'passed', 1, 0,"
                " '2024-08-08 12:00+00'::timestamptz + n * interval '1 min'"
                " FROM generate_series(1, %s) AS n",
                (dataset, rule, count),
            )
        found = checks_by_dataset(connection)
    assert Counter(check.rule for check in found["bars"]) == {"often": CHECKS_MAX, "once": 1}
    assert [check.at for check in found["bars"]] == sorted(
        (check.at for check in found["bars"]), reverse=True
    )
    assert len(found["a"]) == 2


def test_a_server_that_is_away_is_said(tmp_path: Path, house: House) -> None:
    away = "postgresql://nobody:x@127.0.0.1:1/none"
    with pytest.raises(Unavailable, match="hot tier"):
        facts_of([load("bars")], away, away, house.place, EVENING)

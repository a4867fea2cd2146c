"""Issue 5, part 5: every age that a contract gives is kept by a mover, and the words agree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from flows.rows_to_quality import RowsToQuality
from lake.archive.book import held_files
from lake.clock import ManualClock
from lake.contracts.ages import (
    LEAVING_DATASETS,
    RESULTS,
    ROW_DATASETS,
    aging_datasets,
    time_name,
)
from lake.contracts.contract import DATASETS, LAKE_ONLY_DATASETS, load
from lake.contracts.data_dictionary import kept
from lake.hot.alerts import open_alerts
from lake.ledger import MEASURES
from lake.steps import LostAnswer, Steps
from lake.tables.names import NAMESPACE
from tests.bars.trading import EPOCH
from tests.quality.house import trade
from tests.retention.test_retention import OldHouse, gone
from tests.verify.lakehouse import poison

DAYS = (date(2024, 8, 8), date(2024, 8, 10))
TIMES = [datetime(2024, 8, day, 12, tzinfo=UTC) for day in (8, 8, 10)]
OLD = datetime(2024, 9, 8, 12, tzinfo=UTC)
OLDER = datetime(2024, 9, 12, tzinfo=UTC)
LEFT_LAKE = datetime(2026, 9, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[OldHouse]:
    house = OldHouse(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    yield house
    house.close()


def refuse(house: OldHouse, times: list[datetime], *, committed: bool = True) -> None:
    """Put events into quarantine, received at these times."""
    first = house.frames[0] + 1
    rows = [{**poison(first + n, 0), "received_time": at} for n, at in enumerate(times)]
    house.take(rows, "quarantine")
    if committed:
        house.commit()


def alerts(house: OldHouse) -> list[str]:
    with psycopg.connect(house.dsn) as connection:
        return [each.thing for each in open_alerts(connection)]


def test_every_age_of_every_contract_is_kept_by_a_mover() -> None:
    hot = {*LEAVING_DATASETS, RESULTS}
    for dataset in DATASETS:
        contract = load(dataset)
        ages = contract.retention_days
        if dataset in LAKE_ONLY_DATASETS:
            assert kept(contract, "hot") == kept(contract, "compressed") == "never there"
        else:
            assert (ages["hot"] is not None) == (dataset in hot), dataset
            assert (ages["compressed"] is not None) == (dataset in hot), dataset
            if contract.compression_days is None:
                assert ages["compressed"] == ages["hot"], f"{dataset} is never compressed"
        assert (ages["lake"] is not None) == (dataset in aging_datasets()), dataset
        if dataset in aging_datasets():
            assert time_name(dataset), f"{dataset} has an age and no time"
    assert set(ROW_DATASETS) <= set(MEASURES)


def test_quarantined_events_leave_hot_at_their_age_and_are_proven(house: OldHouse) -> None:
    refuse(house, TIMES)
    before = house.seen("quarantine")
    assert len(before) == 3
    house.assert_proven()
    assert gone(house.retain(TIMES[0] + timedelta(days=20))) == []
    planned = house.retention(OLD).plan().moved
    assert [(each.tier, each.dataset, each.day, each.rows) for each in planned] == [
        ("hot", "quarantine", DAYS[0], 2)
    ]
    house.look(OLD - HOUR)
    assert len(house.seen("hot.quarantine")) == 3  # a grace after the lake was seen to hold them
    assert gone(house.retain(OLD)) == [("hot", "quarantine", DAYS[0])]
    assert [row["received_time"] for row in house.seen("hot.quarantine")] == TIMES[2:]
    assert house.seen("quarantine") == before
    house.assert_proven()
    assert house.verify().holds
    assert gone(house.retain(OLD)) == []
    house.look(OLDER - HOUR)
    assert gone(house.retain(OLDER)) == [("hot", "quarantine", DAYS[1])]
    assert house.seen("hot.quarantine") == []
    assert house.seen("quarantine") == before
    house.assert_proven()


def test_a_late_event_of_a_day_that_left_stays_until_it_is_proven_too(house: OldHouse) -> None:
    refuse(house, TIMES)
    house.look(OLD - HOUR)
    house.retain(OLD)
    refuse(house, [TIMES[0]], committed=False)
    assert gone(house.retain(OLD)) == []
    assert len(house.seen("hot.quarantine")) == 2
    assert len(house.seen("quarantine")) == 4
    house.assert_proven()
    house.commit()
    house.look(OLD - HOUR)
    assert gone(house.retain(OLD)) == [("hot", "quarantine", DAYS[0])]
    assert len(house.seen("hot.quarantine")) == 1
    assert len(house.seen("quarantine")) == 4
    house.assert_proven()


def test_what_the_lake_or_the_hot_tier_lacks_is_no_proof_and_an_alert(house: OldHouse) -> None:
    refuse(house, TIMES)
    house.look(OLD - HOUR)
    house.sql("DELETE FROM market.quarantine WHERE seq = (SELECT min(seq) FROM market.quarantine)")
    found = house.retain(OLD)
    assert gone(found) == []
    assert [each.reason for each in found.moved] == ["the hot tier has 1 rows, the ledger 2"]
    assert "hot quarantine of 2024-08-08" in alerts(house)
    assert len(house.seen("hot.quarantine")) == 2
    table = house.table("quarantine")
    table.delete(f"received_time < '{TIMES[2].isoformat()}'")
    found = house.retain(OLD)
    assert gone(found) == []
    assert found.moved[0].failed
    assert len(house.seen("hot.quarantine")) == 2


def test_a_lake_that_lost_what_left_hot_is_found(house: OldHouse) -> None:
    refuse(house, TIMES)
    house.look(OLD - HOUR)
    house.retain(OLD)
    house.table("quarantine").delete(f"received_time < '{TIMES[2].isoformat()}'")
    report = house.verify()
    assert not report.holds
    assert any("quarantine" in str(fault) for fault in report.faults)


@pytest.fixture
def looked(house: OldHouse) -> OldHouse:
    """A lakehouse whose rules were asked on two days, with a result of both that failed."""
    for at in (TIMES[0], TIMES[2]):
        first = house.frames[0] + 1
        row = {**trade(at, size=Decimal(0)), "shard": 0, "seq": first << 16}
        house.write(frames=1, tables={"crypto_trades": [row]})
        clock = ManualClock((at + HOUR - EPOCH) // timedelta(microseconds=1))
        with RowsToQuality(house.dsn, house.place, clock=clock) as checks:
            checks.drain()
    return house


def results(house: OldHouse, view: str = RESULTS) -> list[date]:
    rows = house.seen(view)
    return sorted({row["checked_time"].date() for row in rows})


@pytest.mark.parametrize("step", ["", "retain.write", "retain.enter", "retain.commit"])
def test_results_go_from_hot_to_the_lake_to_the_archive_and_go_for_good(
    looked: OldHouse, step: str
) -> None:
    """Whoever is killed on the way is completed by the next run; a new result is not in the way."""
    assert results(looked) == list(DAYS)
    before = looked.seen(RESULTS)
    lake_age = load(RESULTS).retention_days["lake"]
    archive_age = load(RESULTS).retention_days["archive"]
    assert lake_age is not None
    assert archive_age is not None
    past = datetime(2024, 8, 10, 1, tzinfo=UTC) + timedelta(days=lake_age)
    moved = []
    with suppress(LostAnswer):
        moved += gone(looked.retain(past, Steps({step: ("lost-answer", 1)} if step else {})))
    moved += gone(looked.retain(past))
    assert moved.count(("lake", RESULTS, DAYS[0])) == 1
    assert looked.seen(RESULTS) == [row for row in before if row["checked_time"] >= TIMES[2]]
    with psycopg.connect(looked.dsn) as connection:
        files = held_files(connection, RESULTS)
    assert [file.day for file in files] == [DAYS[0]]
    archived = looked.archive_place.read(RESULTS, files[0].path).sort_by("seq").to_pylist()
    assert archived == [row for row in before if row["checked_time"] < TIMES[2]]
    hot = looked.seen(f"hot.{RESULTS}")
    assert [row for row in hot if row["checked_time"] < TIMES[2]] == [], "each has a newer one"
    gone_at = past + timedelta(days=archive_age)
    assert ("archive", RESULTS, DAYS[0]) in gone(looked.retain(gone_at))
    looked.assert_proven()
    with RowsToQuality(looked.dsn, looked.place, clock=ManualClock()) as checks:
        assert checks.step().results
    table = looked.catalog.load_table((NAMESPACE, RESULTS))
    assert int(table.properties["ticklake.through.0"]) > before[-1]["seq"]


def test_a_dry_run_says_which_results_would_leave_the_lake(looked: OldHouse) -> None:
    lake_age = load(RESULTS).retention_days["lake"]
    assert lake_age is not None
    past = datetime(2024, 8, 12, tzinfo=UTC) + timedelta(days=lake_age)
    planned = [each for each in looked.retention(past).plan().moved if each.dataset == RESULTS]
    assert [(each.tier, each.day) for each in planned if each.tier == "lake"] == [
        ("lake", day) for day in DAYS
    ]
    assert results(looked) == list(DAYS)

"""Issue 5, part 5: data moves on by its contract's ages, proven at every step, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from flows.hot_to_archive import HotToArchive, Retained
from lake.archive.book import held_files
from lake.archive.place import ArchivePlace
from lake.clock import ManualClock
from lake.cost.assumptions import default_text, parse
from lake.errors import Unavailable
from lake.hot.alerts import open_alerts
from lake.hot.bars import HotToBars
from lake.hot.turn import turn
from lake.ingest.hot_to_dropped import drop_due
from lake.lineage.job import lake
from lake.releases.release import create
from lake.steps import LostAnswer, Steps
from lake.views.client import Client
from lake.warehouse import Folder
from tests.bars.test_trades_to_bars import US, House
from tests.bars.trading import EPOCH, NOON, Row, trades
from tests.verify.lakehouse import poison

DAY = date(2024, 8, 8)
YOUNG = datetime(2024, 8, 14, tzinfo=UTC)
LEFT_HOT = datetime(2024, 9, 1, tzinfo=UTC)
LEFT_LAKE = datetime(2026, 9, 1, tzinfo=UTC)
LEFT_ARCHIVE = datetime(2027, 9, 1, tzinfo=UTC)
ROWS = trades(1, 1, count=60)


class OldHouse(House):
    """A lakehouse with a day of trades, and its retention."""

    @property
    def archive(self) -> Path:
        assert isinstance(self.warehouse, Path)
        return self.warehouse.parent / "archive"

    @property
    def archive_place(self) -> ArchivePlace:
        return ArchivePlace(Folder(self.archive))

    def retention(
        self, now: datetime, steps: Steps | None = None, budget: float = 3_000
    ) -> HotToArchive:
        given = parse(default_text()).changed({"budget_dollars_month": budget})
        clock = ManualClock(int((now - EPOCH).total_seconds()) * 1_000_000)
        return HotToArchive(self.dsn, self.place, self.archive_place, clock, given, steps=steps)

    def retain(self, now: datetime, steps: Steps | None = None) -> Retained:
        return self.retention(now, steps).run()

    def look(self, now: datetime) -> None:
        """See that the lake holds what is due: days leave a grace after that."""
        clock = ManualClock(int((now - EPOCH).total_seconds()) * 1_000_000)
        with (
            psycopg.connect(self.dsn, autocommit=True) as connection,
            Client(self.dsn, self.place) as client,
        ):
            drop_due(connection, client, clock)

    def seen(self, view: str, release: str | None = None) -> list[Row]:
        with Client(self.dsn, self.place, release=release) as client:
            return list(client.arrow(f"FROM {view} ORDER BY seq").to_pylist())

    def archived(self) -> list[Row]:
        with psycopg.connect(self.dsn) as connection:
            paths = [each.path for each in held_files(connection, "crypto_trades")]
        tables = [self.archive_place.read("crypto_trades", path) for path in paths]
        rows = [row for table in tables for row in table.to_pylist()]
        return sorted(rows, key=lambda row: row["seq"])

    def assert_proven(self) -> None:
        report = self.verify(full=True)
        assert report.holds, str(report)

    def roll(self) -> None:
        """Make the hot tier's roll-ups, without which no day of trades leaves it."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            roll_ups = HotToBars(connection, ManualClock())
            while roll_ups.step():
                continue


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[OldHouse]:
    house = OldHouse(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    house.take(ROWS)
    house.commit()
    house.roll()
    house.look(LEFT_HOT - timedelta(hours=1))
    yield house
    house.close()


def gone(found: Retained) -> list[tuple[str, str, date]]:
    return [(each.tier, each.dataset, each.day) for each in found.moved if each.gone]


def test_a_day_goes_from_tier_to_tier_at_its_ages_and_is_proven_at_each(house: OldHouse) -> None:
    before = house.seen("crypto_trades")
    assert gone(house.retain(YOUNG)) == []
    assert gone(house.retain(LEFT_HOT)) == [("hot", "crypto_trades", DAY)]
    assert house.seen("lake.crypto_trades") == before
    assert house.archived() == []
    assert gone(house.retain(LEFT_LAKE)) == [("lake", "crypto_trades", DAY)]
    assert house.seen("crypto_trades") == []
    assert house.archived() == before
    house.assert_proven()
    assert gone(house.retain(LEFT_LAKE)) == []
    assert gone(house.retain(LEFT_ARCHIVE)) == [("archive", "crypto_trades", DAY)]
    assert house.archived() == []
    assert list(house.archive.rglob("*.parquet")) == []
    house.assert_proven()


def test_retention_is_told_with_the_snapshots_that_it_wrote(house: OldHouse) -> None:
    house.retain(LEFT_HOT)
    house.retain(LEFT_LAKE)
    head = house.table("crypto_trades").metadata.current_snapshot_id
    with psycopg.connect(house.dsn) as connection:
        told = connection.execute(
            "SELECT event_type, snapshots::jsonb FROM market.lineage_events"
            " WHERE job = 'hot_to_archive' ORDER BY event_no"
        ).fetchall()
    assert [kind for kind, _ in told] == ["START", "COMPLETE"] * 2
    assert [found for _, found in told] == [{}, {}, {}, {lake("crypto_trades"): head}]


def test_bars_outlive_their_trades_whoever_makes_a_time_of_them_anew(house: OldHouse) -> None:
    """A day that is archived keeps its bars; the day beside it is mended."""
    later = trades(2, 61, count=40, start=NOON + timedelta(days=30))
    house.take(later)
    house.commit()
    house.make(YOUNG + timedelta(days=60))
    before = house.stored()
    house.retain(LEFT_HOT)
    house.retain(LEFT_LAKE - timedelta(days=10))
    table = house.table("bars")
    table.delete("event_time >= '2024-09-07T00:00:00+00:00' and interval = '1s'")
    assert len(house.stored()) < len(before)
    first, last = ((NOON + timedelta(days=n) - EPOCH) // US for n in (-1, 40))
    with house.bars(YOUNG + timedelta(days=60)) as bars:
        assert bars.archived(first, last) == [DAY]
        bars.rebuild(first, last)
    assert house.stored() == before


def test_a_release_reads_the_same_after_its_rows_have_gone(house: OldHouse) -> None:
    create(house.dsn, house.place, "kept", ManualClock())
    before = house.seen("crypto_trades", "kept")
    house.retain(LEFT_LAKE)
    house.retain(LEFT_ARCHIVE)
    assert house.seen("crypto_trades") == []
    assert house.seen("crypto_trades", "kept") == before


def test_a_late_row_of_a_day_that_has_gone_is_stored_and_goes_its_own_way(house: OldHouse) -> None:
    house.retain(LEFT_LAKE)
    late = trades(2, 61, count=5)
    house.take(late)
    house.assert_proven()
    house.commit()
    house.roll()
    house.assert_proven()
    assert len(house.seen("crypto_trades")) == 5
    house.look(LEFT_LAKE - timedelta(hours=1))
    assert gone(house.retain(LEFT_LAKE)) == [
        ("hot", "crypto_trades", DAY),
        ("lake", "crypto_trades", DAY),
    ]
    assert len(house.archived()) == 65
    house.assert_proven()


def test_history_that_comes_late_ages_from_the_day_it_came(house: OldHouse) -> None:
    house.sql("UPDATE market.ingest_batches SET committed_time = '2026-08-20'")
    found = house.retain(LEFT_LAKE)
    assert gone(found) == [("hot", "crypto_trades", DAY)]
    assert len(house.seen("lake.crypto_trades")) == 60


@pytest.mark.parametrize("step", ["retain.write", "retain.enter", "retain.commit", "retain.left"])
def test_a_run_that_dies_is_completed_by_the_next(house: OldHouse, step: str) -> None:
    before = house.seen("crypto_trades")
    with suppress(LostAnswer):  # at the commit it is a lost race, which the run survives
        house.retain(LEFT_LAKE, Steps({step: ("lost-answer", 1)}))
    house.assert_proven()
    house.retain(LEFT_LAKE)
    assert house.seen("crypto_trades") == []
    assert house.archived() == before
    assert len(list(house.archive.rglob("*.parquet"))) == 1
    house.assert_proven()


def test_a_day_that_differs_from_the_ledger_stays_and_is_an_alert(house: OldHouse) -> None:
    house.retain(LEFT_HOT)
    house.sql(
        "UPDATE market.ledger_minutes SET rows = rows + 1 WHERE dataset = 'crypto_trades'"
        " AND seq = (SELECT max(seq) FROM market.ledger_minutes)"
    )
    found = house.retain(LEFT_LAKE)
    assert gone(found) == []
    assert not found.holds
    assert len(house.seen("lake.crypto_trades")) == 60
    assert list(house.archive.rglob("*.parquet")) == []
    with psycopg.connect(house.dsn) as connection:
        assert [each.thing for each in open_alerts(connection)] == [
            "lake crypto_trades of 2024-08-08"
        ]


def test_a_dry_run_says_what_would_go_and_what_it_costs_and_changes_nothing(
    house: OldHouse,
) -> None:
    found = house.retention(LEFT_LAKE).plan()
    assert [(each.tier, each.day, each.rows, each.gone) for each in found.moved] == [
        ("hot", DAY, 60, False),
        ("lake", DAY, 60, False),
    ]
    sizes = {(each.tier, each.dataset): each for each in found.sizes}
    assert sizes["lake", "crypto_trades"].rows == 60
    assert sizes["hot", "crypto_trades"].bytes > 0
    assert found.dollars["lake"] == pytest.approx(
        sum(each.bytes for each in found.sizes if each.tier == "lake") / 1e9 * 0.023
    )
    assert len(house.seen("hot.crypto_trades")) == 60
    assert list(house.archive.rglob("*")) == []


def test_what_costs_more_than_the_budget_is_an_alert_until_it_does_not(house: OldHouse) -> None:
    house.retention(YOUNG, budget=0).run()
    with psycopg.connect(house.dsn) as connection:
        (alert,) = open_alerts(connection)
        assert "over the budget of 0 $" in alert.fault
        house.retention(YOUNG).run()
        assert open_alerts(connection) == []
        measured = connection.execute(
            "SELECT dollars_month FROM market.tier_sizes WHERE tier = 'budget' ORDER BY 1"
        ).fetchall()
    assert measured[0][0] in (Decimal(0), Decimal(3_000))


def test_a_day_leaves_files_that_hold_others_too_and_these_stay(house: OldHouse) -> None:
    """Quarantined events lie in files of several days; each day goes when its own age has come."""
    times = [datetime(2024, 8, day, 12, tzinfo=UTC) for day in (8, 8, 10)]
    rows = [{**poison(frame, 0), "received_time": at} for frame, at in enumerate(times, 61)]
    house.take(rows, "quarantine")
    house.commit()
    house.look(datetime(2026, 8, 9, 11, tzinfo=UTC))
    found = house.retain(datetime(2026, 8, 9, 13, tzinfo=UTC))
    assert ("lake", "quarantine", DAY) in gone(found)
    assert [row["received_time"] for row in house.seen("lake.quarantine")] == times[2:]
    house.assert_proven()
    found = house.retain(LEFT_LAKE)
    assert gone(found) == [("lake", "quarantine", date(2024, 8, 10))]
    assert house.seen("lake.quarantine") == []
    house.assert_proven()


def test_a_second_run_at_once_waits_for_its_turn(house: OldHouse) -> None:
    mover = house.retention(LEFT_LAKE)
    mover._archive._wait_s = 0.1
    with turn(house.dsn, "retain"), pytest.raises(Unavailable, match="another run is at work"):
        mover.run()

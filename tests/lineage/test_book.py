"""The book of events: numbered without a hole, never changed, and its way to the lake."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from flows.jobs import BARS
from flows.numbered_to_lake import take
from flows.small_files_to_large import keep
from lake.clock import SystemClock
from lake.lineage.book import DATASET, events_after, note
from lake.lineage.event import Told
from lake.lineage.job import Written, lake
from lake.lineage.run import Run, Teller
from lake.releases import release
from lake.steps import LostAnswer, Steps
from lake.views.client import Client
from lake.warehouse import Folder
from tests.bars.test_trades_to_bars import House
from tests.bars.trading import trades

RUN = "3f5e83fa-3480-44ff-99c5-ff943904e5e8"


def told(number: int) -> Told:
    written = (Written(lake("bars"), number, 1),)
    return Told(BARS, RUN, "RUNNING", 1_723_118_400_000_000 + number, written, brief=True)


@pytest.fixture
def book(migrated_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(migrated_dsn, autocommit=True) as connection:
        yield connection


def test_events_of_writers_at_once_are_numbered_without_a_hole(
    book: psycopg.Connection, migrated_dsn: str
) -> None:
    def write() -> None:
        with psycopg.connect(migrated_dsn, autocommit=True) as connection:
            for n in range(10):
                note(connection, "desk", [told(n), told(n)])

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    numbers = [number for number, _ in events_after(book, 0, events_max=1_000)]
    assert numbers == list(range(1, 81))
    assert note(book, "desk", []) is None


def test_the_mover_s_roles_add_events_and_can_change_none(book: psycopg.Connection) -> None:
    for role in ("market_ingest", "market_lake_writer", "market_operator"):
        book.execute(f"GRANT {role} TO CURRENT_USER")
        with book.transaction(force_rollback=True):
            book.execute(f"SET LOCAL ROLE {role}")
            assert note(book, "desk", [told(1)]) == 1
        for statement in ("DELETE FROM", "UPDATE"):
            tail = " SET job = 'x'" if statement == "UPDATE" else ""
            book.execute(f"SET ROLE {role}")
            with pytest.raises(errors.InsufficientPrivilege):
                book.execute(f"{statement} market.lineage_events{tail}")
            book.execute("RESET ROLE")


def test_a_book_that_is_away_is_counted_and_ends_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    teller = Teller("postgresql://nobody:x@127.0.0.1:1/none", SystemClock())
    with teller.run(BARS) as run:
        run.wrote(lake("bars"), 1, 5)
    assert teller.dropped == 2
    assert "lineage: 1 events not written: " in capsys.readouterr().err


def test_a_run_that_fails_is_told_with_its_fault(
    book: psycopg.Connection, migrated_dsn: str
) -> None:
    with pytest.raises(ValueError, match="no"), Teller(migrated_dsn, SystemClock()).run(BARS):
        raise ValueError("no")
    rows = book.execute("SELECT event_type, event FROM market.lineage_events ORDER BY event_no")
    (begin, _), (end, event) = rows.fetchall()
    assert (begin, end) == ("START", "FAIL")
    assert json.loads(event)["run"]["facets"]["errorMessage"]["message"] == "ValueError: no"


@pytest.mark.parametrize("step", ["", "lake.parquet", "lake.pointer", "lake.committed"])
def test_the_book_comes_to_the_lake_once_wherever_a_run_dies(
    book: psycopg.Connection, migrated_dsn: str, tmp_path: Path, step: str
) -> None:
    place = Folder(tmp_path / "warehouse")
    note(book, "desk", [told(n) for n in range(3)])
    if step:
        with pytest.raises(Exception, match=step) as raised:
            take(migrated_dsn, place, DATASET, steps=Steps({step: ("lost-answer", 1)}))
        assert isinstance(raised.value.__cause__ or raised.value, LostAnswer)
    found = take(migrated_dsn, place, DATASET)
    assert found.rows == (0 if step == "lake.committed" else 3)
    note(book, "desk", [told(n) for n in range(3, 5)])
    with Client(migrated_dsn, place) as client:
        numbers = client.arrow("SELECT event_no FROM lineage_events ORDER BY 1")
        assert numbers["event_no"].to_pylist() == [1, 2, 3, 4, 5]
        assert client.arrow("SELECT count(*) AS n FROM lake.lineage_events")["n"][0].as_py() == 3
        assert client.arrow("SELECT count(*) AS n FROM hot.lineage_events")["n"][0].as_py() == 5
    assert take(migrated_dsn, place, DATASET).rows == 2
    assert take(migrated_dsn, place, DATASET) == take(migrated_dsn, place, DATASET)
    keep(migrated_dsn, place, SystemClock(), DATASET)
    with Client(migrated_dsn, place) as client:
        assert client.arrow("FROM lineage_events").num_rows == 5


def test_bars_and_releases_tell_of_their_snapshots(migrated_dsn: str, tmp_path: Path) -> None:
    house = House(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    house.take(trades(1, 1, count=60))
    house.commit()
    house.make()
    head = house.table("bars").metadata.current_snapshot_id
    release.create(house.dsn, house.place, "one", SystemClock())
    with psycopg.connect(migrated_dsn) as connection:
        rows = connection.execute(
            "SELECT job, event_type, snapshots FROM market.lineage_events ORDER BY event_no"
        ).fetchall()
    house.close()
    assert [row[:2] for row in rows] == [
        ("trades_to_bars", "START"),
        ("trades_to_bars", "COMPLETE"),
        ("release", "COMPLETE"),
    ]
    assert all(json.loads(row[2])[lake("bars")] == head for row in rows)


def test_rows_of_a_run_add_up_and_its_newest_snapshot_stays() -> None:
    run = Run(Teller("", SystemClock()), BARS)
    run.wrote("x", 1, 5)
    run.wrote("x", 2, 6)
    assert run.written == {"x": Written("x", 2, 11)}

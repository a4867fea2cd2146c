"""The drill: back up, go on, restore to a moment, and lose nothing of what was acknowledged."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest

from infra.command.restore import lines_of
from infra.recovery.backup import Taken, backup_now
from infra.recovery.folder_place import FolderPlace
from infra.recovery.place import Backup, expendable
from infra.recovery.places import wanted
from infra.recovery.restore import Restored, restore_to
from infra.servers import embedded
from infra.servers.postgres_server import PostgresServer
from infra.servers.process import wait_until
from lake.clock import ManualClock, SystemClock
from lake.errors import BadInput, WrongUse
from lake.hot.lease import take
from lake.settings import Settings
from lake.state import postgres_dsn
from lake.verify.verify import verify
from tests.path.lakehouse import Lakehouse, stream

CLOCK = SystemClock()
COMMITS = 25
"""More than the metadata files that a table keeps where backups are off."""

PLACE = "SELECT metadata_location FROM public.iceberg_tables WHERE table_name = 'crypto_trades'"


@dataclass
class Home:
    """A home whose PostgreSQL is archived to a folder."""

    path: Path
    place: FolderPlace
    hours: int = 24

    def up(self) -> Lakehouse:
        """Start it, as the command does."""
        settings = Settings(
            home=self.path, backup=str(self.place.folder), recovery_hours=self.hours
        )
        state = embedded.up(self.path, backup=wanted(settings)).state
        return Lakehouse(state["postgres"]["dsn"], self.path)

    def backup(self) -> Taken:
        """Take a base backup now."""
        server = embedded.postgres_of(self.path, CLOCK)
        return backup_now(postgres_dsn(self.path), self.place, server, CLOCK)

    def restore(self, to: datetime) -> Restored:
        """Restore to a moment."""
        made = partial(embedded.postgres_of, self.path, CLOCK)
        return restore_to(self.path, to, self.place, made, CLOCK)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """Return an archived home; its servers end with the test."""
    made = Home((tmp_path / "home").resolve(), FolderPlace((tmp_path / "backup").resolve()))
    try:
        yield made
    finally:
        embedded.down(made.path)


def now() -> datetime:
    return datetime.fromtimestamp(CLOCK.now_us() / 1e6, UTC)


def one(dsn: str, query: str) -> object:
    """Return the one value of a query."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_what_a_restore_took_the_journal_gives_back(home):
    lakehouse = home.up()
    lakehouse.journal(stream(0, 30))
    assert lakehouse.move() == 0
    home.backup()
    lakehouse.journal(stream(30, 30), up=False)
    assert lakehouse.move() == 0
    moment = now()
    old = lakehouse.start()
    for start in range(60, 60 + COMMITS):
        place = one(lakehouse.dsn, PLACE)
        lakehouse.journal(stream(start, 1), up=False)
        assert wait_until(CLOCK, lambda place=place: one(lakehouse.dsn, PLACE) != place, 60)
    rows = 3 * (60 + COMMITS)  # a commit may have been one of upkeep
    assert wait_until(CLOCK, lambda: len(lakehouse.stored("lake.crypto_trades")) == rows, 60)
    before = lakehouse.stored("crypto_trades")

    done = home.restore(moment)
    assert done.frames_after[0] < done.frames_before[0] == 86
    lakehouse = home.up()
    assert len(lakehouse.stored("crypto_trades")) == len(lakehouse.stored("lake.crypto_trades"))
    assert len(lakehouse.stored("crypto_trades")) == 3 * 60

    report = verify(home.path)
    assert [str(fault) for fault in report.faults] == [
        f"hot frames: shard 0 frames 62 to 86 are missing since the restore to {moment:%FT%TZ};"
        " the journal holds them all: start ingest, which writes them again:"
        f" {home.path}/journal/shard-0"
    ]
    assert_fenced(old)
    assert lakehouse.move() == 0
    lakehouse.assert_whole()
    assert lakehouse.stored("crypto_trades") == before
    assert verify(home.path, full=True).holds


def assert_fenced(old: subprocess.Popen[str]) -> None:
    """Assert that a mover of before the restore ended by itself, as fenced."""
    said, _ = old.communicate(timeout=60)
    assert old.returncode == 1, said
    assert "Fenced" in said


def test_every_lease_of_before_is_fenced_and_so_are_those_to_come(home):
    lakehouse = home.up()
    home.backup()
    with psycopg.connect(lakehouse.dsn, autocommit=True) as connection:
        moment = now()
        late = [take(connection, name) for name in ("shard-0", "committer")]
    done = home.restore(moment)
    again = home.restore(moment)
    assert again.incarnation > done.incarnation > 0
    lakehouse = home.up()
    with psycopg.connect(lakehouse.dsn, autocommit=True) as connection:
        for lease in late:
            assert lease is not None
            taken = take(connection, lease.name)
            assert taken is not None
            assert taken.epoch > again.incarnation * 1_000_000 > lease.epoch


def test_a_killed_server_is_restored_to_its_last_commit(home):
    lakehouse = home.up()
    home.backup()
    lakehouse.journal(stream(0, 10))
    assert lakehouse.move() == 0
    moment = now()
    with psycopg.connect(lakehouse.dsn) as connection:
        connection.execute("CREATE TABLE market.later (i int)")
    process = PostgresServer(home.path, CLOCK).process()
    assert process is not None
    subprocess.run(["kill", "-9", str(process.pid)], check=True)
    done = home.restore(moment)
    assert done.frames_before == {0: 11}
    lakehouse = home.up()
    lakehouse.assert_whole()
    assert one(lakehouse.dsn, "SELECT to_regclass('market.later')") is None


def test_what_could_not_be_archived_is_said_and_read_where_it_lay(home):
    lakehouse = home.up()
    home.backup()
    lakehouse.journal(stream(0, 10))
    assert lakehouse.move() == 0
    moment = now()
    made = partial(embedded.postgres_of, home.path, CLOCK)
    home.place.log.chmod(0o500)
    try:
        clock = ManualClock(CLOCK.now_us())  # its minute of waiting is over at once
        done = restore_to(home.path, moment, home.place, made, clock)
    finally:
        home.place.log.chmod(0o700)
    assert "the log does not get there" in done.not_archived
    assert any(line.startswith("not archived before: ") for line in lines_of(done))
    assert done.frames_before == {0: 11}
    home.up().assert_whole()


def test_a_moment_out_of_reach_changes_nothing(home):
    lakehouse = home.up()
    lakehouse.journal(stream(0, 10))
    assert lakehouse.move() == 0
    early = now()
    with pytest.raises(BadInput, match="no base backup had ended by then"):
        home.restore(early)
    home.backup()
    with pytest.raises(BadInput, match="not over yet"):
        home.restore(now() + timedelta(hours=1))
    home.up().assert_whole()


def test_backups_are_off_until_they_are_set_and_stay_as_they_were_set(home):
    dsn = embedded.up(home.path).state["postgres"]["dsn"]
    assert one(dsn, "SHOW archive_mode") == "off"
    with pytest.raises(WrongUse, match="keeps no log"):
        backup_now(dsn, home.place, embedded.postgres_of(home.path, CLOCK), CLOCK)
    home.up()
    dsn = embedded.up(home.path).state["postgres"]["dsn"]
    assert one(dsn, "SHOW archive_mode") == "on"
    dsn = embedded.up(home.path, backup={}).state["postgres"]["dsn"]
    assert one(dsn, "SHOW archive_mode") == "off"
    assert one(dsn, "SELECT count(*) FROM market.recovery") == 0


def test_only_backups_that_no_restore_needs_are_expendable():
    hour = timedelta(hours=1)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    backups = [Backup(str(i), start + i * hour, start + (i + 0.5) * hour) for i in range(4)]
    assert expendable(backups, start) == []
    assert expendable(backups, start + 1.5 * hour) == backups[:1]
    assert expendable(backups, start + 9 * hour) == backups[:3]


def test_a_backup_that_no_restore_needs_goes_with_its_log(home):
    dsn = home.up().dsn
    first = home.backup().backup
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE market.recovery SET window_hours = 0")
    second = home.backup()
    assert [each.name for each in second.deleted] == [first.name]
    assert home.place.backups() == [second.backup]
    assert one(dsn, "SELECT string_agg(name, ',') FROM market.backups") == second.backup.name
    marks = [each.read_text() for each in home.place.log.glob("*.backup")]
    assert [f"LABEL: {second.backup.name}\n" in mark for mark in marks] == [True]

"""The drill on the real servers: TimescaleDB with its own log archive, the lake in S3.

How far it goes back is DRILL_S, by default seconds: TICKLAKE_TEST_DRILL_S=600 makes it the ten
minutes of an operator who looks at the clock.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest
from pyarrow.fs import S3FileSystem

from infra.native import timescale
from infra.native.software import Software
from infra.native.stack import Stack
from infra.recovery.backup import archive_now, backup_now, ship_now
from infra.recovery.bucket_place import BucketPlace
from infra.recovery.folder_place import FolderPlace
from infra.recovery.place import Place
from infra.recovery.restore import restore_to
from infra.servers.postgres_server import PostgresServer, admin_dsn, dsn
from infra.servers.process import wait_until
from lake.clock import SystemClock, utc_from_us
from lake.hot.arrange import prepare
from lake.hot.recovery import keep_for
from lake.settings import Settings
from lake.verify.verify import verify
from lake.warehouse import Bucket, warehouse_of
from tests.infra.test_recovery import assert_fenced
from tests.path.lakehouse import Lakehouse, stream

CLOCK = SystemClock()
PASSWORD = "only-for-tests"
DRILL_S = float(os.environ.get("TICKLAKE_TEST_DRILL_S") or 12)
BEFORE_S = 5.0
SHIP_EVERY_S = 60.0
STORED_S_MAX = 60.0
FRAME_S = 0.7

PROFILE = Stack(Software(Settings().stack_software.resolve()))


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, stack: Path, tmp_path: Path) -> Place:
    """Return a place of backups, of either kind."""
    if request.param == "folder":
        return FolderPlace(tmp_path / "backup")
    found = bucket(stack)
    store = S3FileSystem(
        access_key=found.access_key,
        secret_key=found.secret_key,
        endpoint_override=found.endpoint,
        region=found.region,
    )
    return BucketPlace(found.location, store, tmp_path / "home" / "archive" / "wal")


@pytest.fixture
def server(place: Place, tmp_path: Path) -> Iterator[tuple[Path, PostgresServer]]:
    """Run a TimescaleDB of the test's own, archived; the stack's is left alone."""
    home = tmp_path / "home"
    for name in ("log", "run", "journal"):
        (home / name).mkdir(parents=True)
    made = PROFILE.postgres_of(home, CLOCK, place.settings())
    try:
        yield home, made
    finally:
        made.down()


def test_what_a_restore_took_the_journal_gives_back_to_timescaledb_and_s3(stack, server, place):
    home, postgres = server
    lakehouse = started(postgres, place, home, bucket(stack))
    lakehouse.journal(stream(0, 20))
    assert lakehouse.move() == 0
    backup_now(lakehouse.dsn, place, postgres, CLOCK)
    lakehouse.journal(stream(20, 20), up=False)
    assert lakehouse.move() == 0
    ship_now(lakehouse.dsn, place)
    moment = utc_from_us(CLOCK.now_us())
    lakehouse.journal(stream(40, 20), up=False)
    assert lakehouse.move() == 0
    before = lakehouse.stored("crypto_trades")

    done = restore_to(home, moment, place, partial(PROFILE.postgres_of, home, CLOCK), CLOCK)
    assert done.frames_before == {0: 61}
    assert done.frames_after == {0: 41}
    lakehouse = started(postgres, place, home, lakehouse.place)
    assert len(lakehouse.stored("lake.crypto_trades")) == 3 * 40
    report = verify(dsn=lakehouse.dsn, journal=home / "journal", warehouse=lakehouse.place)
    assert ["frames 42 to 61 are missing" in str(fault) for fault in report.faults] == [True]
    assert lakehouse.move() == 0
    lakehouse.assert_whole()
    assert lakehouse.stored("crypto_trades") == before


@pytest.mark.parametrize("place", ["bucket"], indirect=True)
def test_some_time_back_writers_are_fenced_what_is_missing_is_said_and_the_journal_closes_it(
    stack, server, place
):
    home, postgres = server
    lakehouse = started(postgres, place, home, bucket(stack))
    lakehouse.journal(stream(0, 10))
    assert lakehouse.move() == 0
    backup_now(lakehouse.dsn, place, postgres, CLOCK)
    ship_now(lakehouse.dsn, place)
    old = lakehouse.start()
    seen = written_for(lakehouse, place, BEFORE_S + DRILL_S)
    before = lakehouse.stored("crypto_trades")

    moment = utc_from_us(CLOCK.now_us()) - timedelta(seconds=DRILL_S)
    master = postgres.running()
    assert master is not None
    done = restore_to(home, moment, place, partial(PROFILE.postgres_of, home, CLOCK), CLOCK)
    last, was = done.frames_after[0], done.frames_before[0]
    assert seen[max(at for at in seen if at <= moment)] <= last
    assert last <= seen[min(at for at in seen if at > moment)] < was

    lakehouse = started(postgres, place, home, lakehouse.place, master.port)
    assert_fenced(old)
    report = verify(dsn=lakehouse.dsn, journal=home / "journal", warehouse=lakehouse.place)
    said = f"frames {last + 1} to {was} are missing since the restore to {moment:%FT%TZ}"
    assert [said in str(fault) for fault in report.faults] == [True], str(report)
    assert lakehouse.move() == 0
    lakehouse.assert_whole()
    assert lakehouse.stored("crypto_trades") == before


def written_for(lakehouse: Lakehouse, place: Place, seconds: float) -> dict[datetime, int]:
    """Journal a frame about every second, which a mover writes; return time -> last frame stored.

    seconds: from the first that is stored on. The log is shipped meanwhile, as the process that
    backs a home up does.
    """
    seen: dict[datetime, int] = {}
    shipped_us, frame = CLOCK.monotonic_us(), 10
    end_us: int | None = None
    while end_us is None or CLOCK.monotonic_us() < end_us:
        lakehouse.journal(stream(frame, 1), up=False)
        frame += 1
        assert wait_until(CLOCK, partial(is_stored, lakehouse.dsn, frame + 1), STORED_S_MAX)
        now_us = CLOCK.monotonic_us()
        seen[utc_from_us(CLOCK.now_us())] = frame + 1
        end_us = end_us or now_us + int(seconds * 1e6)
        if now_us - shipped_us > SHIP_EVERY_S * 1e6:
            ship_now(lakehouse.dsn, place)
            shipped_us = now_us
        CLOCK.sleep(FRAME_S)
    return seen


def is_stored(dsn: str, frame: int) -> bool:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT last_frame FROM market.shards WHERE shard = 0").fetchone()
    return row is not None and int(row[0]) >= frame


def test_a_bucket_holds_all_that_was_shipped_and_only_what_a_restore_needs(server, place, stack):
    home, postgres = server
    dsn = started(postgres, place, home, bucket(stack)).dsn
    backup_now(dsn, place, postgres, CLOCK)
    master = postgres.running()
    assert master is not None
    with psycopg.connect(admin_dsn(master), autocommit=True) as connection:
        connection.execute("UPDATE market.recovery SET window_hours = 0")
        archive_now(connection, CLOCK)
    ship_now(dsn, place)
    second = backup_now(dsn, place, postgres, CLOCK)
    assert place.backups() == [second.backup]
    assert len(second.deleted) == 1
    with psycopg.connect(dsn) as connection:
        safe = connection.execute("SELECT market.safe_upto() > '0/0'").fetchone()
    assert safe == (True,)


def started(
    postgres: PostgresServer, place: Place, home: Path, warehouse: Bucket, port: int | None = None
) -> Lakehouse:
    """Start the server and arrange its database."""
    master = postgres.up(port, PASSWORD)
    timescale.see_to_databases(master, {})
    address = dsn(master, PASSWORD)
    where = place.location if isinstance(place, BucketPlace) else str(home)
    with psycopg.connect(address) as connection:
        prepare(connection)
        keep_for(connection, 24, where)
    return Lakehouse(address, home, warehouse=warehouse)


def bucket(stack: Path) -> Bucket:
    """Return a folder of the stack's bucket for this test alone."""
    found = warehouse_of(stack)
    assert isinstance(found, Bucket)
    return Bucket(
        f"s3://{found.name}/tests/{uuid.uuid4().hex}",
        found.endpoint,
        found.region,
        found.access_key,
        found.secret_key,
    )

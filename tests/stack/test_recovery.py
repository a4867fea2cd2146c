"""The drill on the real servers: TimescaleDB with its own log archive, the lake in S3."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from infra.native import timescale
from infra.native.software import Software
from infra.native.stack import Stack
from infra.recovery.backup import backup_now
from infra.recovery.folder_place import FolderPlace
from infra.recovery.restore import restore_to
from infra.servers.postgres_server import PostgresServer, dsn
from lake.clock import SystemClock, utc_from_us
from lake.hot.arrange import prepare
from lake.hot.recovery import keep_for
from lake.settings import Settings
from lake.verify.verify import verify
from lake.warehouse import Bucket, warehouse_of
from tests.path.lakehouse import Lakehouse, stream

CLOCK = SystemClock()
PASSWORD = "only-for-tests"


@pytest.fixture
def server(stack: Path, tmp_path: Path) -> Iterator[tuple[Path, PostgresServer, FolderPlace]]:
    """Run a TimescaleDB of the test's own, archived to a folder; the stack's is left alone."""
    home, place = tmp_path / "home", FolderPlace(tmp_path / "backup")
    for name in ("log", "run", "journal"):
        (home / name).mkdir(parents=True)
    made = Stack(Software(Settings().stack_software.resolve())).postgres_of(
        home, CLOCK, place.settings()
    )
    try:
        yield home, made, place
    finally:
        made.down()


def test_what_a_restore_took_the_journal_gives_back_to_timescaledb_and_s3(stack, server, tmp_path):
    home, postgres, place = server
    lakehouse = started(postgres, place, home, bucket(stack, tmp_path.name))
    lakehouse.journal(stream(0, 20))
    assert lakehouse.move() == 0
    backup_now(lakehouse.dsn, place, postgres, CLOCK)
    lakehouse.journal(stream(20, 20), up=False)
    assert lakehouse.move() == 0
    moment = utc_from_us(CLOCK.now_us())
    lakehouse.journal(stream(40, 20), up=False)
    assert lakehouse.move() == 0
    before = lakehouse.stored("crypto_trades")

    make = partial(Stack(Software(Settings().stack_software.resolve())).postgres_of, home, CLOCK)
    done = restore_to(home, moment, place, make, CLOCK)
    assert done.frames_before == {0: 61}
    assert done.frames_after == {0: 41}
    lakehouse = started(postgres, place, home, lakehouse.place)
    assert len(lakehouse.stored("lake.crypto_trades")) == 3 * 40
    report = verify(dsn=lakehouse.dsn, journal=home / "journal", warehouse=lakehouse.place)
    assert ["frames 42 to 61 are missing" in str(fault) for fault in report.faults] == [True]
    assert lakehouse.move() == 0
    lakehouse.assert_whole()
    assert lakehouse.stored("crypto_trades") == before


def started(
    postgres: PostgresServer, place: FolderPlace, home: Path, warehouse: Bucket
) -> Lakehouse:
    """Start the server and arrange its database."""
    master = postgres.up(None, PASSWORD)
    timescale.see_to_databases(master, {})
    address = dsn(master, PASSWORD)
    with psycopg.connect(address) as connection:
        prepare(connection)
        keep_for(connection, 24, str(place.folder))
    return Lakehouse(address, home, warehouse=warehouse)


def bucket(stack: Path, name: str) -> Bucket:
    """Return a folder of the stack's bucket for this test alone."""
    found = warehouse_of(stack)
    assert isinstance(found, Bucket)
    return Bucket(
        f"s3://{found.name}/tests/{name}",
        found.endpoint,
        found.region,
        found.access_key,
        found.secret_key,
    )

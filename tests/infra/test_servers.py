"""Starting is recovery: whatever was killed or left behind, `up` leads to running servers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pytest
import redis
import sqlalchemy

from infra.servers import embedded
from infra.servers.postgres_server import PostgresServer
from infra.servers.process import processes, wait_until
from infra.servers.valkey_server import ValkeyServer
from lake import state
from lake.clock import SystemClock
from lake.errors import BadInput, Unavailable

CLOCK = SystemClock()
WAIT_S_MAX = 180


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a home that the tests share; each leaves it such that `up` starts it."""
    home = tmp_path_factory.mktemp("servers").resolve() / "home"
    yield home
    embedded.down(home)


@pytest.fixture
def new_home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path.resolve() / "home"
    yield home
    embedded.down(home)


def rows(home: Path, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(state.postgres_dsn(home)) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def pids(home: Path) -> tuple[int, int]:
    now = state.read_state(home)
    return now["postgres"]["pid"], now["valkey"]["pid"]


def test_up_on_an_empty_folder_starts_both_and_prepares_the_database(new_home: Path) -> None:
    report = embedded.up(new_home)
    assert report.started == ("postgres", "valkey")
    assert rows(new_home, "SELECT count(*) FROM market.crypto_trades") == [(0,)]
    assert (new_home / "warehouse").is_dir()
    assert all(each["running"] for each in embedded.status(new_home).values())


def test_up_again_starts_nothing_and_keeps_every_process(home: Path) -> None:
    embedded.up(home)
    before = pids(home)
    assert embedded.up(home).started == ()
    assert pids(home) == before


def test_up_twice_at_once_makes_one_of_each(new_home: Path) -> None:
    words = [sys.executable, "-m", "infra.command.main", "up", "--json", "--home", str(new_home)]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range(2)]
    answers = [json.loads(each.communicate(timeout=WAIT_S_MAX)[0]) for each in both]
    assert [each.returncode for each in both] == [0, 0]
    assert sorted(len(answer["started"]) for answer in answers) == [0, 2]
    first, second = ({n: s["pid"] for n, s in answer["servers"].items()} for answer in answers)
    assert first == second
    assert len([p for p in processes() if p.words[-1] == str(new_home / "pg")]) == 1


def test_the_address_opens_in_every_client(home: Path) -> None:
    embedded.up(home)
    dsn = state.postgres_dsn(home)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("ticklake",)
    with adbc.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
    engine = sqlalchemy.create_engine(dsn.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as pooled:
        assert pooled.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
    engine.dispose()
    with redis.Redis.from_url(state.valkey_url(home)) as client:
        assert client.ping()


def test_postgres_killed_is_started_with_what_it_had_committed(home: Path) -> None:
    embedded.up(home)
    rows(home, "CREATE TABLE kept AS SELECT 7 AS n")
    kill(pids(home)[0])
    assert embedded.up(home).started == ("postgres",)
    assert rows(home, "SELECT n FROM kept") == [(7,)]


def test_postgres_killed_under_a_running_query_leaves_no_backend_in_the_way(home: Path) -> None:
    embedded.up(home)
    dsn = state.postgres_dsn(home)

    def sleep_on_the_server() -> None:
        with pytest.raises(psycopg.OperationalError), psycopg.connect(dsn) as connection:
            connection.execute("SELECT pg_sleep(600)")

    query = threading.Thread(target=sleep_on_the_server)
    query.start()
    busy = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'"
    assert wait_until(CLOCK, lambda: bool(rows(home, busy)), WAIT_S_MAX)
    kill(pids(home)[0])
    assert embedded.up(home).started == ("postgres",)
    query.join(timeout=WAIT_S_MAX)
    assert rows(home, "SELECT 1") == [(1,)]


def test_valkey_killed_is_started_with_what_it_had_answered(home: Path) -> None:
    embedded.up(home)
    with redis.Redis.from_url(state.valkey_url(home)) as client:
        client.set("kept", 7)
    kill(pids(home)[1])
    assert wait_until(CLOCK, lambda: ValkeyServer(home, CLOCK).process() is None, WAIT_S_MAX)
    assert embedded.up(home).started == ("valkey",)
    with redis.Redis.from_url(state.valkey_url(home)) as client:
        assert client.get("kept") == b"7"


def test_a_stale_pid_that_a_stranger_has_now_is_neither_believed_nor_signalled(home: Path) -> None:
    embedded.up(home)
    lines = (home / "pg" / "postmaster.pid").read_text().splitlines()
    embedded.down(home)
    (home / "pg" / "postmaster.pid").write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")
    assert not embedded.status(home)["postgres"]["running"]
    assert embedded.down(home) == ()
    assert embedded.up(home).started == ("postgres", "valkey")


def test_a_stale_socket_file_is_no_obstacle(home: Path) -> None:
    embedded.up(home)
    port = state.read_state(home)["postgres"]["port"]
    embedded.down(home)
    stale = home / "pg" / f".s.PGSQL.{port}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(stale))
    (home / "pg" / f".s.PGSQL.{port}.lock").write_text(f"{os.getppid()}\n")
    embedded.up(home)
    assert state.read_state(home)["postgres"]["port"] == port


def ports(home: Path) -> dict[str, int]:
    """Return the port of each server that the state names."""
    return {name: each["port"] for name, each in state.read_state(home).items() if "port" in each}


def test_a_port_taken_meanwhile_is_replaced_and_a_free_one_kept(home: Path) -> None:
    embedded.up(home)
    before = ports(home)
    embedded.down(home)
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", before["postgres"]))
        squatter.listen()
        embedded.up(home)
        after = ports(home)
    assert after["postgres"] != before["postgres"]
    assert after["valkey"] == before["valkey"]
    assert rows(home, "SELECT 1") == [(1,)]


def test_a_half_finished_initdb_is_made_anew(new_home: Path) -> None:
    (new_home / "pg.new-1" / "base").mkdir(parents=True)
    (new_home / "pg.new-1" / "PG_VERSION").write_text("18\n")
    embedded.up(new_home)
    assert not (new_home / "pg.new-1").exists()
    assert rows(new_home, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("after_s", [0.2, 0.3, 0.4, 0.5, 0.7])
def test_up_killed_at_any_time_can_be_called_again(new_home: Path, after_s: float) -> None:
    words = [sys.executable, "-m", "infra.command.main", "up", "--home", str(new_home)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        CLOCK.sleep(after_s)
        first.kill()
    embedded.up(new_home)
    assert rows(new_home, "SELECT count(*) FROM market.crypto_trades") == [(0,)]


def test_everything_killed_again_and_again_always_comes_back(home: Path) -> None:
    for pause_s in (0.0, 0.001, 0.01, 0.05):
        embedded.up(home)
        for pid in pids(home):
            kill(pid)
        CLOCK.sleep(pause_s)
        embedded.up(home)
        assert rows(home, "SELECT 1") == [(1,)]
        with redis.Redis.from_url(state.valkey_url(home)) as client:
            assert client.ping()


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"postgres": 5}'])
def test_a_lost_or_damaged_state_file_is_written_anew(home: Path, text: str | None) -> None:
    embedded.up(home)
    before = pids(home)
    if text is None:
        state.state_path(home).unlink()
    else:
        state.state_path(home).write_text(text)
    assert embedded.up(home).started == ()
    assert pids(home) == before


def test_down_finds_the_servers_without_a_state_file(home: Path) -> None:
    embedded.up(home)
    state.state_path(home).unlink()
    assert set(embedded.down(home)) == {"postgres", "valkey"}
    assert embedded.down(home) == ()
    assert not any(each["running"] for each in embedded.status(home).values())


def test_lost_passwords_are_made_anew(home: Path) -> None:
    embedded.up(home)
    before = state.postgres_dsn(home)
    (home / "run" / "passwords.json").unlink()
    embedded.up(home)
    assert state.postgres_dsn(home) != before
    assert rows(home, "SELECT 1") == [(1,)]
    with redis.Redis.from_url(state.valkey_url(home)) as client:
        assert client.ping()


def test_a_home_too_deep_for_a_socket_path_works(tmp_path: Path) -> None:
    home = tmp_path.resolve() / ("d" * 120)
    try:
        embedded.up(home)
        assert rows(home, "SELECT 1") == [(1,)]
        sockets = Path(state.read_state(home)["postgres"]["socket_dir"])
        assert sockets.is_dir()
        assert sockets != home / "pg"
    finally:
        embedded.down(home)
    assert not sockets.exists()


def test_a_home_below_a_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="Not a directory: choose another with --home"):
        embedded.up(tmp_path / "file" / "home")


def test_files_of_another_major_version_are_left_alone(new_home: Path) -> None:
    embedded.up(new_home)
    embedded.down(new_home)
    (new_home / "pg" / "PG_VERSION").write_text("17\n")
    with pytest.raises(BadInput, match="made by PostgreSQL 17"):
        embedded.up(new_home)


def test_a_server_that_can_not_start_is_reported_with_its_last_words(home: Path) -> None:
    embedded.up(home)
    embedded.down(home)
    (home / "pg" / "ticklake.conf").write_text("shared_buffers = 'plenty'\n")
    with pytest.raises(Unavailable, match=r"not ready .*shared_buffers"):
        PostgresServer(home, CLOCK).up(None, "secret")
    (home / "pg" / "ticklake.conf").unlink()


def test_passwords_are_for_their_owner_only(home: Path) -> None:
    embedded.up(home)
    passwords = embedded.read_passwords(home, embedded.NAMES).values()
    for name in ("state.json", "passwords.json"):
        assert (home / "run" / name).stat().st_mode & 0o077 == 0
    assert not [p for p in processes() for word in p.words if any(s in word for s in passwords)]


def test_a_wrong_password_does_not_open_the_database(home: Path) -> None:
    embedded.up(home)
    port = state.read_state(home)["postgres"]["port"]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"postgresql://ticklake:wrong@127.0.0.1:{port}/ticklake")


def test_down_where_nothing_ever_was_makes_nothing(tmp_path: Path) -> None:
    assert embedded.down(tmp_path / "nowhere") == ()
    assert not (tmp_path / "nowhere").exists()

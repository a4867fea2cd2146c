"""The embedded profile as one thing: up, down, status.

Starting is recovery: whatever a crash left behind, the same steps lead to running servers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from infra.servers.door import OFF
from infra.servers.home import locked, port_of, prepared, read_passwords
from infra.servers.logins import give_logins, login_names
from infra.servers.ports import LOOPBACK
from infra.servers.postgres_files import wheel
from infra.servers.postgres_server import PostgresServer, admin_dsn, dsn
from infra.servers.report import Report, Server, statuses
from infra.servers.valkey_server import ValkeyServer, url
from lake.clock import Clock, SystemClock
from lake.errors import BadInput
from lake.hot.arrange import CHUNK_HOURS, prepare
from lake.hot.recovery import keep_for
from lake.state import read_state, write_state

NAMES = ("postgres", "valkey")


def up(
    home: Path,
    clock: Clock | None = None,
    *,
    chunk_hours: int = CHUNK_HOURS,
    pinned: Sequence[str] = (),
    backup: Mapping[str, Any] | None = None,
    door: tuple[str, str] = ("", ""),
) -> Report:
    """Start what is down, prepare database and folders; safe to call again and at once.

    chunk_hours, pinned: as for lake.hot.arrange. backup: {"place", "hours", "settings"}, empty to
    have none, None to go on as last time; settings are those with which the server archives.
    door: nothing but loopback as it is: BadInput for what these servers can't do.
    """
    stay_local(*door)
    clock = clock or SystemClock()
    home = prepared(home)
    with locked(home, clock):
        before = read_state(home)
        passwords = read_passwords(home, NAMES)
        known = before.get("backup", {})
        backup = dict(known if backup is None else backup)
        postgres = postgres_of(home, clock, backup.get("settings"))
        valkey = ValkeyServer(home, clock)
        if backup.get("settings") != known.get("settings"):
            postgres.down()  # it archives, or stops to, from its next start on
        found = [process and process.pid for process in (postgres.process(), valkey.process())]
        master = postgres.up(port_of(before, "postgres"), passwords["postgres"])
        keeper = valkey.up(port_of(before, "valkey"), passwords["valkey"])
        state: dict[str, Any] = {
            "postgres": {
                "dsn": dsn(master, passwords["postgres"]),
                "socket_dir": str(master.socket_dir),
                "port": master.port,
                "pid": master.pid,
            },
            "valkey": {
                "url": url(keeper, passwords["valkey"]),
                "port": keeper.port,
                "pid": keeper.pid,
            },
        }
        write_state(home, {**before, **state})
        with psycopg.connect(dsn(master, passwords["postgres"])) as connection:
            prepare(connection, chunk_hours=chunk_hours, pinned=pinned)
            keep_for(connection, backup.get("hours"), backup.get("place", ""))
        state["backup"] = backup
        words = read_passwords(home, login_names())
        state["roles"] = give_logins(admin_dsn(master), state["postgres"]["dsn"], words)
        write_state(home, {**before, **state})
    now = (("postgres", master.pid), ("valkey", keeper.pid))
    return Report(
        state, tuple(name for (name, pid), old in zip(now, found, strict=True) if pid != old)
    )


def stay_local(listen: str, tls: str) -> None:
    """Raise BadInput for another door than loopback: the wheels' servers are built without TLS."""
    if tls not in ("", OFF) or listen not in ("", LOOPBACK):
        raise BadInput(
            "TICKLAKE_TLS",
            "the embedded profile's servers are built without TLS, and stay on loopback",
            "take the stack: ticklake up --profile stack",
        )


def postgres_of(home: Path, clock: Clock, more: Mapping[str, str] | None = None) -> PostgresServer:
    """Return a home's PostgreSQL (absolute path), with settings that go before its own."""
    return PostgresServer(home, clock, wheel().also(more or {}))


def down(home: Path, clock: Clock | None = None) -> tuple[str, ...]:
    """Stop the servers of a home, with or without a state file; return those that ran."""
    clock = clock or SystemClock()
    home = home.resolve()
    if not home.is_dir():
        return ()
    with locked(home, clock):
        servers = (("valkey", ValkeyServer(home, clock)), ("postgres", PostgresServer(home, clock)))
        return tuple(name for name, server in servers if server.down())


def status(home: Path, clock: Clock | None = None) -> dict[str, dict[str, Any]]:
    """Return per server: running, health, pid, address, since (UTC, ISO 8601), version, log.

    Raises BadInput for a home that is no folder, or not ours to read.
    """
    clock = clock or SystemClock()
    home = home.resolve()
    servers: dict[str, Server] = {
        "postgres": PostgresServer(home, clock),
        "valkey": ValkeyServer(home, clock),
    }
    return statuses(home, servers)

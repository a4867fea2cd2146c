"""The embedded profile as one thing: up, down, status.

Starting is recovery: whatever a crash left behind, the same steps lead to running servers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from infra.servers.home import locked, port_of, prepared, read_passwords
from infra.servers.postgres_server import PostgresServer, dsn
from infra.servers.report import Report, Server, statuses
from infra.servers.valkey_server import ValkeyServer, url
from lake.clock import Clock, SystemClock
from lake.hot.arrange import CHUNK_HOURS, prepare
from lake.state import read_state, write_state

NAMES = ("postgres", "valkey")


def up(
    home: Path,
    clock: Clock | None = None,
    *,
    chunk_hours: int = CHUNK_HOURS,
    pinned: Sequence[str] = (),
) -> Report:
    """Start what is down, prepare database and folders; safe to call again and at once.

    chunk_hours, pinned: as for lake.hot.arrange.
    """
    clock = clock or SystemClock()
    home = prepared(home)
    with locked(home, clock):
        before = read_state(home)
        passwords = read_passwords(home, NAMES)
        postgres, valkey = PostgresServer(home, clock), ValkeyServer(home, clock)
        found = [process and process.pid for process in (postgres.process(), valkey.process())]
        master = postgres.up(port_of(before, "postgres"), passwords["postgres"])
        keeper = valkey.up(port_of(before, "valkey"), passwords["valkey"])
        state = {
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
    now = (("postgres", master.pid), ("valkey", keeper.pid))
    return Report(
        state, tuple(name for (name, pid), old in zip(now, found, strict=True) if pid != old)
    )


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

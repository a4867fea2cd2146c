"""The embedded profile as one thing: up, down, status.

Starting is recovery: whatever a crash left behind, the same steps lead to running servers.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from infra.servers.ports import LOOPBACK
from infra.servers.postgres_server import PostgresServer, dsn
from infra.servers.process import wait_until
from infra.servers.valkey_server import ValkeyServer, url
from lake.clock import Clock, SystemClock, utc_from_us
from lake.errors import BadInput, Unavailable
from lake.hot.arrange import CHUNK_HOURS, prepare
from lake.state import read_state, write_state

LOCK_S_MAX = 60.0
FOLDERS = ("run", "log", "journal", "warehouse")


@dataclass(frozen=True)
class Report:
    """What `up` did: the state now, and the servers that it had to start."""

    state: dict[str, Any]
    started: tuple[str, ...]


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
        passwords = read_passwords(home)
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
    """Return per server: running, pid, address, since (UTC, ISO 8601), version, log.

    Raises BadInput for a home that is no folder, or not ours to read.
    """
    clock = clock or SystemClock()
    home = home.resolve()
    servers: dict[str, PostgresServer | ValkeyServer] = {
        "postgres": PostgresServer(home, clock),
        "valkey": ValkeyServer(home, clock),
    }
    try:
        return {name: described(server) for name, server in servers.items()}
    except (NotADirectoryError, PermissionError) as error:
        raise BadInput(f"home {home}", str(error.strerror), "choose another with --home") from error


def described(server: PostgresServer | ValkeyServer) -> dict[str, Any]:
    """Return the status of one server."""
    process, ready = server.process(), server.running()
    running = process is not None and ready is not None
    return {
        "running": running,
        "pid": process.pid if process else None,
        "address": f"{LOOPBACK}:{ready.port}" if ready else None,
        "since": utc_from_us(process.since_us).isoformat(timespec="seconds") if process else None,
        "version": server.version(),
        "log": str(server.log),
    }


def prepared(home: Path) -> Path:
    """Make the home's folders and return its absolute path; BadInput when that is not allowed."""
    home = home.resolve()
    try:
        for name in FOLDERS:
            (home / name).mkdir(parents=True, exist_ok=True)
        (home / "run").chmod(0o700)
    except OSError as error:
        raise BadInput(
            f"home {home}", str(error.strerror or error), "choose another with --home"
        ) from error
    return home


@contextmanager
def locked(home: Path, clock: Clock) -> Iterator[None]:
    """Hold the home's lock: starts and stops happen one after the other."""
    (home / "run").mkdir(exist_ok=True)
    with (home / "run" / "servers.lock").open("a") as file:

        def taken() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not wait_until(clock, taken, LOCK_S_MAX):
            raise Unavailable(f"home {home}", "another up or down is at work", "wait for it")
        yield


def read_passwords(home: Path) -> dict[str, str]:
    """Return the servers' passwords, made once per home and kept for its owner's eyes."""
    path = home / "run" / "passwords.json"
    try:
        kept = json.loads(path.read_text())
        return {name: str(kept[name]) for name in ("postgres", "valkey")}
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
        made = {name: secrets.token_hex(16) for name in ("postgres", "valkey")}
    new = path.with_suffix(".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(made, file)
    new.replace(path)
    return made


def port_of(state: dict[str, Any], server: str) -> int | None:
    """Return the port of last time."""
    port = state.get(server, {}).get("port")
    return port if isinstance(port, int) else None

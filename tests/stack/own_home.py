"""A home of a test's or benchmark's own on a running stack: a database and a folder of
the bucket that nobody else uses; and the taking away of one of these servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from infra.servers.home import prepared
from infra.servers.process import processes
from infra.servers.profile import FOLDERS
from infra.servers.report import in_state
from lake.hot.arrange import prepare
from lake.state import read_state, write_state

ROOT = Path(__file__).resolve().parents[2]
STOPPED = ("postgres", "redis", "minio", "trino", "prefect", "worker", "mlflow")
"""Servers that tests take away, by the names of `ticklake status`."""

UP_S_MAX = 600


@contextmanager
def own_home(stack: Path, folder: Path, name: str) -> Iterator[Path]:
    """Yield a home of the profile `given` on a stack's servers; its database is dropped at the end.

    name: of database and folder, never used before on this stack.
    """
    state = read_state(stack)
    with psycopg.connect(state["postgres"]["dsn"], autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    dsn = urlunsplit(urlsplit(state["postgres"]["dsn"])._replace(path=f"/{name}"))
    home = prepared(folder)
    (home / FOLDERS["given"]).mkdir()
    warehouse = {"location": f"s3://{state['s3']['bucket']}/{name}"}
    # logins and flows are those of another database
    ours = {name: each for name, each in state.items() if name not in ("roles", "flows")}
    write_state(home, {**ours, "postgres": {"dsn": dsn}, "warehouse": warehouse})
    with psycopg.connect(dsn) as connection:
        prepare(connection)
    try:
        yield home
    finally:
        with psycopg.connect(state["postgres"]["dsn"], autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


def pids(stack: Path, server: str) -> list[int]:
    """Return a server's processes, its first one first."""
    first = int(read_state(stack)[in_state(server)]["pid"])
    return [first, *(each.pid for each in processes() if each.parent == first)]


def send(found: list[int], number: signal.Signals) -> None:
    """Send a signal to processes; those that are gone already are left out."""
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def up(stack: Path) -> None:
    """Start what is down in a stack."""
    words = [sys.executable, "-m", "infra.command.main", "up", "--profile", "stack", "--json"]
    done = subprocess.run(
        [*words, "--home", str(stack)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=UP_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def status(home: Path) -> dict[str, Any]:
    """Return what `ticklake status` says, with its exit code as "rc"."""
    words = [sys.executable, "-m", "infra.command.main", "status", "--json", "--home", str(home)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return {**json.loads(done.stdout), "rc": done.returncode}

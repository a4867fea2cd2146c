"""A PostgreSQL and a folder for campaigns outside of pytest, gone when they are done."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from infra.servers.postgres_server import PostgresServer
from lake.clock import SystemClock
from lake.hot.arrange import prepare
from tests.conftest import PASSWORD, Databases
from tests.path.chaos.campaign import Campaign

MEMORY = Path("/dev/shm")
"""Where there is such a folder, syncs cost nothing: what is durable is simulated anyway."""


@contextmanager
def opened_databases(folder: Path) -> Iterator[tuple[Databases, str]]:
    """Run a PostgreSQL in a folder; give its databases and the name of a migrated one."""
    home = folder / "home"
    (home / "log").mkdir(parents=True)
    server = PostgresServer(home.resolve(), SystemClock())
    try:
        databases = Databases(server.up(None, PASSWORD))
        migrated = databases.create()
        with psycopg.connect(databases.dsn(migrated)) as connection:
            prepare(connection)
        yield databases, migrated
    finally:
        server.down()


@contextmanager
def opened_campaign() -> Iterator[Campaign]:
    """Make a campaign with a server of its own."""
    place = MEMORY if MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(dir=place) as folder,
        opened_databases(Path(folder)) as (databases, migrated),
        Campaign(databases, migrated, Path(folder)) as campaign,
    ):
        yield campaign

"""The hot tier's editions for tests: the project's own server, and others by a DSN.

TICKLAKE_TEST_TIMESCALE_APACHE_DSN and TICKLAKE_TEST_TIMESCALE_COMMUNITY_DSN name a database of a
server that has the extension, as a role that may create databases; each test gets one of its own
from template1, in which the extension must be made too.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import conninfo, errors, sql

from lake.hot.arrange import prepare

CREATE_TRIES_MAX = 240


def variable(edition: str) -> str:
    """Return the environment variable that names an edition's server."""
    return f"TICKLAKE_TEST_TIMESCALE_{edition.upper()}_DSN"


@dataclass(frozen=True)
class Server:
    """A server of an edition, by the DSN of one of its databases; it makes others."""

    dsn: str

    def create(self) -> str:
        """Make a database and return its DSN."""
        name = f"ticklake_test_{uuid.uuid4().hex[:12]}"
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for left in reversed(range(CREATE_TRIES_MAX)):
                try:
                    connection.execute(statement)
                    break
                except errors.ObjectInUse:  # the extension's own worker looks into template1
                    if not left:
                        raise
                    connection.execute("SELECT pg_sleep(0.5)")
        return conninfo_uri(self.dsn, name)

    def drop(self, dsn: str) -> None:
        """Drop a database, its connections too."""
        name = conninfo.conninfo_to_dict(dsn)["dbname"]
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(str(name)))
            )


def conninfo_uri(dsn: str, database: str) -> str:
    """Return a server's address with another database, as a URI: SQLAlchemy takes no other."""
    parts = conninfo.conninfo_to_dict(dsn)
    password = f":{parts['password']}" if parts.get("password") else ""
    return f"postgresql://{parts['user']}{password}@{parts['host']}:{parts['port']}/{database}"


@contextmanager
def server_database(edition: str) -> Iterator[str]:
    """Give the DSN of a migrated and arranged database on a server of an edition.

    Skips where no server is named; a server of another edition than named fails.
    """
    address = os.environ.get(variable(edition))
    if not address:
        pytest.skip(f"no TimescaleDB server of the {edition} edition: set {variable(edition)}")
    server = Server(address)
    dsn = server.create()
    try:
        with psycopg.connect(dsn) as connection:
            assert prepare(connection).name == edition
        yield dsn
    finally:
        server.drop(dsn)

"""TimescaleDB for the stack profile: its programs, and the databases beside the hot tier's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import errors, sql

from infra.native.debian_part import POSTGRES_BINARIES
from infra.native.software import Software
from infra.servers.postgres_files import DATABASE, SUPERUSER, Programs
from infra.servers.postgres_server import CONNECT_S_MAX, Postmaster
from lake.errors import Unavailable

FOLDER = "timescaledb"
SETTINGS = Path(__file__).parents[1] / "config" / "postgres.conf"
LINE = re.compile(r"^([\w.]+) = '(.*)'$", re.MULTILINE)
TEMPLATE = "template1"
"""New databases, tests' among them, have the extension from the start."""


def programs(software: Software) -> Programs:
    """Return the programs, on their own /usr, with the settings of infra/config."""
    settings = dict(LINE.findall(SETTINGS.read_text()))
    return Programs(POSTGRES_BINARIES, software.usr, FOLDER, settings)


def see_to_databases(postmaster: Postmaster, owners: Mapping[str, str]) -> None:
    """Make the extension where it is missing or old, and a database for each owner.

    owners: passwords by name; the database has its owner's name.
    """
    try:
        for name in (TEMPLATE, DATABASE):
            see_to_extension(postmaster, name)
        with superuser(postmaster, "postgres") as connection:
            for name, password in owners.items():
                see_to_owner(connection, name, password)
    except psycopg.Error as error:
        raise Unavailable("TimescaleDB", f"no database ({error})", "try again") from error


def superuser(postmaster: Postmaster, database: str) -> psycopg.Connection:
    """Connect as the superuser, by the socket that only the server's owner reaches."""
    return psycopg.connect(
        host=str(postmaster.socket_dir),
        port=postmaster.port,
        user=SUPERUSER,
        dbname=database,
        connect_timeout=CONNECT_S_MAX,
        autocommit=True,
    )


def see_to_extension(postmaster: Postmaster, database: str) -> None:
    """Bring the extension to the version of the installed files.

    The update must be the first word of its session: any other loads the version that was.
    """
    with superuser(postmaster, database) as connection:
        try:
            connection.execute("ALTER EXTENSION timescaledb UPDATE")
        except errors.UndefinedObject:
            connection.execute("CREATE EXTENSION timescaledb")


def see_to_owner(connection: psycopg.Connection, name: str, password: str) -> None:
    """Make a role that may log in, with this password, and its database."""
    role = sql.Identifier(name)
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone() is None:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
    connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(password)))
    found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
    if found is None:
        statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0")
        connection.execute(statement.format(role, role))

"""Bring a hot tier's database up to date with the numbered files of warehouse_sql/migrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg
from psycopg.pq import TransactionStatus

from lake.errors import BadInput, WrongUse
from warehouse_sql.statement import Migration, migrations

MIGRATION_LOCK = 0x7469636B
"""Key of the advisory lock: one process migrates a database at a time."""


def migrate(connection: psycopg.Connection, wanted: Sequence[Migration] | None = None) -> list[str]:
    """Apply what is missing, each file in a transaction; return the names of those applied.

    wanted: the migrations in order, by default the files of warehouse_sql. Safe when several
    processes call it at once. Raises BadInput when a file that was applied has been edited or is
    gone, or a new one is numbered below it; WrongUse inside an open transaction.
    """
    if connection.info.transaction_status != TransactionStatus.IDLE:
        raise WrongUse("migrate", "a transaction is open", "commit it first")
    wanted = migrations() if wanted is None else wanted
    applied = []
    while (name := _apply_next(connection, wanted)) is not None:
        applied.append(name)
    return applied


def _apply_next(connection: psycopg.Connection, wanted: Sequence[Migration]) -> str | None:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        done = _recorded(connection)
        _check(wanted, done)
        if len(done) == len(wanted):
            return None
        migration = wanted[len(done)]
        connection.execute(migration.text.encode())
        connection.execute(
            "INSERT INTO market.schema_migrations (version, name, sha256) VALUES (%s, %s, %s)",
            (migration.version, migration.name, migration.sha256),
        )
        return _full_name(migration.version, migration.name)


def _recorded(connection: psycopg.Connection) -> Mapping[int, tuple[str, str]]:
    """Return version -> (name, sha256) of what was applied; makes the table on first use."""
    found = connection.execute("SELECT to_regclass('market.schema_migrations')").fetchone()
    if found is None or found[0] is None:
        connection.execute(_TABLE)
    rows = connection.execute(
        "SELECT version, name, sha256 FROM market.schema_migrations ORDER BY version"
    )
    return {version: (name, sha256) for version, name, sha256 in rows}


def _check(wanted: Sequence[Migration], done: Mapping[int, tuple[str, str]]) -> None:
    files = {migration.version: migration for migration in wanted}
    for version, (name, sha256) in done.items():
        thing = f"migration {_full_name(version, name)}"
        if version not in files:
            raise BadInput(
                thing,
                "the database has it, this ticklake does not",
                "install the ticklake that made the database, or a newer one",
            )
        if files[version].sha256 != sha256:
            raise BadInput(
                thing,
                "edited after it was applied",
                "restore the file, and put the change into a new one",
            )
    for version in list(files)[: len(done)]:
        if version not in done:
            raise BadInput(
                f"migration {_full_name(version, files[version].name)}",
                "numbered below one that was applied",
                "give it the next number",
            )


def _full_name(version: int, name: str) -> str:
    return f"{version:04d}_{name}"


_TABLE = """
CREATE SCHEMA IF NOT EXISTS market;
CREATE TABLE market.schema_migrations (
    version int PRIMARY KEY,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""

"""Daily partitions of the tick tables: created ahead and on demand, dropped whole."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import psycopg
from psycopg import errors, sql

from lake.contracts.contract import TICK_DATASETS
from lake.errors import Unavailable, WrongUse

SCHEMA = "market"

DROP_LOCK_TIMEOUT_MS = 200
"""How long a drop may wait for its lock; while it waits, writers queue behind it."""

SUMMARIZE_LOCK_TIMEOUT_MS = 50
ANALYZE_ROWS_MIN = 10_000
"""Rows from which on statistics matter: the first come at once, the server's own by the minute."""

PARTITION_LOCK = 0x70617274
"""Key space of the advisory locks under which a dataset's partitions are made."""


def ensure_partitions(
    connection: psycopg.Connection,
    dataset: str,
    days: Iterable[date],
    known: set[tuple[str, date]] | None = None,
) -> list[str]:
    """Create the partitions of these UTC days that are missing; return their names.

    known: (dataset, day) pairs seen before, which cost nothing; the call adds to it. A partition
    dropped since then is not noticed: forget its pair when a COPY finds no partition. Safe when
    several processes call it at once, and beside open transactions that write to the table.
    """
    known = set() if known is None else known
    missing = sorted({day for day in days if (dataset, day) not in known})
    if not missing:
        return []
    with connection.transaction():
        found = existing_partitions(connection, dataset)
        created = [
            partition_name(dataset, day)
            for day in missing
            if day not in found and _create(connection, dataset, day)
        ]
    known.update((dataset, day) for day in (*found, *missing))
    return created


def existing_partitions(connection: psycopg.Connection, dataset: str) -> dict[date, str]:
    """Return UTC day -> name with schema, in order of days."""
    prefix = f"{_tick_dataset(dataset)}_p"
    rows = connection.execute(
        "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = %s::regclass AND c.relname ~ %s ORDER BY c.relname",
        (f"{SCHEMA}.{dataset}", f"^{prefix}[0-9]{{8}}$"),
    )
    return {_day(name.removeprefix(prefix)): f"{SCHEMA}.{name}" for (name,) in rows}


def drop_partition(connection: psycopg.Connection, dataset: str, day: date) -> bool:
    """Drop a UTC day with all its rows; False when it is not there. Proves nothing: callers do.

    Inside an open transaction the drop belongs to it. Raises Unavailable when the table is in use
    for longer than DROP_LOCK_TIMEOUT_MS.
    """
    name = partition_name(dataset, day)
    try:
        with connection.transaction():
            connection.execute(
                "SELECT set_config('lock_timeout', %s, true)", (f"{DROP_LOCK_TIMEOUT_MS}ms",)
            )
            if not _is_there(connection, name):
                return False
            connection.execute(sql.SQL("DROP TABLE {}").format(_identifier(name)))
            return True
    except errors.LockNotAvailable as error:
        raise Unavailable(name, "in use", "try again later") from error


def summarize(connection: psycopg.Connection, dataset: str, days: Iterable[date]) -> int:
    """Bring the BRIN indexes of these UTC days' partitions up to date; return the new ranges.

    Until a range is summarized every query reads it, and without statistics a query may take the
    index of the wrong column; the server by itself may leave it so for minutes. A partition that is
    in use (a vacuum) is left for the next time.
    """
    ranges = 0
    with connection.transaction():
        found = existing_partitions(connection, dataset)
        names = [found[day] for day in days if day in found]
        connection.execute(
            "SELECT set_config('lock_timeout', %s, true)", (f"{SUMMARIZE_LOCK_TIMEOUT_MS}ms",)
        )
        try:
            row = connection.execute(
                "SELECT coalesce(sum(brin_summarize_new_values(i.indexrelid)), 0)"
                " FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid"
                " JOIN pg_am AS m ON m.oid = c.relam"
                " WHERE m.amname = 'brin' AND i.indrelid = ANY(%s::regclass[])",
                (names,),
            ).fetchone()
            _analyze_first(connection, names)
        except errors.LockNotAvailable:
            raise psycopg.Rollback from None
        ranges = int(row[0]) if row else 0
    return ranges


def _analyze_first(connection: psycopg.Connection, names: list[str]) -> None:
    """Give the planner statistics of partitions that never had any; later ones are the server's."""
    rows = connection.execute(
        "SELECT relid::regclass::text FROM pg_stat_all_tables WHERE relid = ANY(%s::regclass[])"
        " AND last_analyze IS NULL AND last_autoanalyze IS NULL AND n_live_tup >= %s",
        (names, ANALYZE_ROWS_MIN),
    ).fetchall()
    for (name,) in rows:
        connection.execute(sql.SQL("ANALYZE {}").format(_identifier(name)))


def partition_name(dataset: str, day: date) -> str:
    """Return a partition's name with its schema, market.crypto_trades_p20240808."""
    return f"{SCHEMA}.{_tick_dataset(dataset)}_p{day:%Y%m%d}"


def _create(connection: psycopg.Connection, dataset: str, day: date) -> bool:
    """Create one partition; False when somebody else just did.

    CREATE TABLE ... PARTITION OF would lock the parent against writers; ATTACH does not.
    """
    name = partition_name(dataset, day)
    names = {"part": _identifier(name), "parent": _identifier(f"{SCHEMA}.{dataset}")}
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    bounds = {"start": start.isoformat(), "end": (start + timedelta(days=1)).isoformat()}
    connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (PARTITION_LOCK, dataset))
    if _is_there(connection, name):
        return False
    connection.execute(
        sql.SQL(
            "CREATE TABLE {part} (LIKE {parent} INCLUDING ALL EXCLUDING INDEXES"
            " EXCLUDING COMMENTS);"
            "ALTER TABLE {parent} ATTACH PARTITION {part}"
            " FOR VALUES FROM ({start}) TO ({end})"
        ).format(**names, **{key: sql.Literal(value) for key, value in bounds.items()})
    )
    return True


def _is_there(connection: psycopg.Connection, name: str) -> bool:
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone()
    return bool(row and row[0])


def _identifier(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split("."))


def _day(digits: str) -> date:
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))


def _tick_dataset(dataset: str) -> str:
    if dataset not in TICK_DATASETS:
        raise WrongUse(dataset, "has no partitions", f"one of {', '.join(TICK_DATASETS)}")
    return dataset

"""Days of a hypertable: one or more chunks each, made by the server, dropped together."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import psycopg
from psycopg import errors, sql

from lake.errors import Damaged, Unavailable

SCHEMA = "market"

DROP_LOCK_TIMEOUT_MS = 200
"""How long a drop may wait for a lock; while it waits, writers queue behind it."""

_CHUNKS = """
SELECT range_start, range_end, format('%%I.%%I', chunk_schema, chunk_name)
FROM timescaledb_information.chunks
WHERE hypertable_schema = 'market' AND hypertable_name = %s ORDER BY range_start, chunk_name
"""


def chunk_days(connection: psycopg.Connection, dataset: str) -> dict[date, list[str]]:
    """Return UTC day -> names of its chunks with schema, in order of days.

    A chunk that somebody made to span several days is no day's: it stays.
    """
    found: dict[date, list[str]] = {}
    for start, end, name in connection.execute(_CHUNKS, (dataset,)):
        day = start.astimezone(UTC).date()
        if end <= bounds(day)[1]:
            found.setdefault(day, []).append(name)
    return found


def lock_chunks(connection: psycopg.Connection, dataset: str, day: date) -> list[str]:
    """Keep readers and writers out of a day's chunks until the transaction ends; return them."""
    names = chunk_days(connection, dataset).get(day, [])
    if names:
        tables = sql.SQL(", ").join(map(identifier, names))
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(tables))
    return names


def drop_chunks(
    connection: psycopg.Connection, dataset: str, day: date, locked: Iterable[str] | None = None
) -> bool:
    """Drop a UTC day with all its rows; False when it is not there. Proves nothing: callers do.

    locked: the chunks that were proven; Damaged when there is another one by now, made by a late
    row. Writers of the whole table are kept out while it drops, readers of other days are not.
    Raises Unavailable when a lock is not to be had in DROP_LOCK_TIMEOUT_MS.
    """
    table = f"{SCHEMA}.{dataset}"
    try:
        with connection.transaction():
            connection.execute(
                "SELECT set_config('lock_timeout', %s, true)", (f"{DROP_LOCK_TIMEOUT_MS}ms",)
            )
            lock = sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(identifier(table))
            connection.execute(lock)
            found = chunk_days(connection, dataset).get(day, [])
            if locked is not None and sorted(found) != sorted(locked):
                raise Damaged(f"{table}, day {day}", "a late row came in", "prove again")
            start, end = bounds(day)
            dropped = connection.execute(
                "SELECT drop_chunks(%s::regclass, older_than => %s, newer_than => %s)",
                (table, end, start),
            ).fetchall()
            if len(dropped) != len(found):
                raise Damaged(f"{table}, day {day}", "not all of it could go", "look at its chunks")
            return bool(dropped)
    except errors.LockNotAvailable as error:
        raise Unavailable(f"{table}, day {day}", "in use", "try again later") from error


def bounds(day: date) -> tuple[datetime, datetime]:
    """Return a UTC day's start, inclusive, and end, exclusive."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return start, start + timedelta(days=1)


def identifier(name: str) -> sql.Identifier:
    """Return schema.name as an identifier."""
    return sql.Identifier(*name.split("."))

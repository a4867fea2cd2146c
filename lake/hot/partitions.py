"""Days of the tick tables: made ahead and on demand, dropped whole.

A day is a partition, or the chunks of a hypertable (lake.hot.chunks) where the table is one; the
functions here are the same for both.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import psycopg
from psycopg import errors, sql

from lake.contracts.contract import TICK_DATASETS
from lake.errors import Unavailable, WrongUse
from lake.hot.chunks import (
    DROP_LOCK_TIMEOUT_MS,
    SCHEMA,
    chunk_days,
    drop_chunks,
    identifier,
    lock_chunks,
)
from lake.hot.edition import is_hypertable
from lake.hot.slots import cut_hypertable, plan

SUMMARIZE_LOCK_TIMEOUT_MS = 50
ANALYZE_ROWS_MIN = 10_000
"""Rows from which on statistics matter: the first come at once, the server's own by the minute."""


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
    if is_hypertable(connection, _tick_dataset(dataset)):
        cut_hypertable(connection, dataset, plan(connection, dataset))
        known.update((dataset, day) for day in missing)
        return []  # the server makes a chunk when its first row comes
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
    """Return UTC day -> name with schema, in order of days; the table's where days are chunks."""
    prefix = f"{_tick_dataset(dataset)}_p"
    if is_hypertable(connection, dataset):
        return dict.fromkeys(chunk_days(connection, dataset), f"{SCHEMA}.{dataset}")
    rows = connection.execute(
        "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = %s::regclass AND c.relname ~ %s ORDER BY c.relname",
        (f"{SCHEMA}.{dataset}", f"^{prefix}[0-9]{{8}}$"),
    )
    return {_day(name.removeprefix(prefix)): f"{SCHEMA}.{name}" for (name,) in rows}


def lock_day(connection: psycopg.Connection, dataset: str, day: date) -> list[str]:
    """Keep readers and writers out of a day until the transaction ends; return what was locked.

    Waits no longer than DROP_LOCK_TIMEOUT_MS for each lock (psycopg.errors.LockNotAvailable).
    """
    connection.execute(
        "SELECT set_config('lock_timeout', %s, true)", (f"{DROP_LOCK_TIMEOUT_MS}ms",)
    )
    if is_hypertable(connection, dataset):
        return lock_chunks(connection, dataset, day)
    name = partition_name(dataset, day)
    connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(identifier(name)))
    return [name]


def drop_partition(
    connection: psycopg.Connection, dataset: str, day: date, locked: list[str] | None = None
) -> bool:
    """Drop a UTC day with all its rows; False when it is not there. Proves nothing: callers do.

    locked: what lock_day returned in this transaction; Damaged when a late row has added to it.
    Inside an open transaction the drop belongs to it. Raises Unavailable when the table is in use
    for longer than DROP_LOCK_TIMEOUT_MS.
    """
    if is_hypertable(connection, _tick_dataset(dataset)):
        return drop_chunks(connection, dataset, day, locked)
    name = partition_name(dataset, day)
    try:
        with connection.transaction():
            connection.execute(
                "SELECT set_config('lock_timeout', %s, true)", (f"{DROP_LOCK_TIMEOUT_MS}ms",)
            )
            if not _is_there(connection, name):
                return False
            connection.execute(sql.SQL("DROP TABLE {}").format(identifier(name)))
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
        names = _leaves(connection, dataset, days)
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


def _leaves(connection: psycopg.Connection, dataset: str, days: Iterable[date]) -> list[str]:
    """Return the tables that hold these days' rows."""
    if is_hypertable(connection, _tick_dataset(dataset)):
        chunks = chunk_days(connection, dataset)
        return [name for day in days for name in chunks.get(day, ())]
    found = existing_partitions(connection, dataset)
    rows = connection.execute(
        "SELECT relid::regclass::text FROM unnest(%s::regclass[]) AS day,"
        " pg_partition_tree(day) WHERE isleaf",
        ([found[day] for day in days if day in found],),
    )
    return [name for (name,) in rows]


def _analyze_first(connection: psycopg.Connection, names: list[str]) -> None:
    """Give the planner statistics of partitions that never had any; later ones are the server's."""
    rows = connection.execute(
        "SELECT relid::regclass::text FROM pg_stat_all_tables WHERE relid = ANY(%s::regclass[])"
        " AND last_analyze IS NULL AND last_autoanalyze IS NULL AND n_live_tup >= %s",
        (names, ANALYZE_ROWS_MIN),
    ).fetchall()
    for (name,) in rows:
        connection.execute(sql.SQL("ANALYZE {}").format(identifier(name)))


def partition_name(dataset: str, day: date) -> str:
    """Return a partition's name with its schema, market.crypto_trades_p20240808."""
    return f"{SCHEMA}.{_tick_dataset(dataset)}_p{day:%Y%m%d}"


def _create(connection: psycopg.Connection, dataset: str, day: date) -> bool:
    """Create one partition; False when somebody else just did."""
    wanted = plan(connection, dataset)
    row = connection.execute(
        "SELECT market.make_partition(%s, %s, %s, %s)",
        (dataset, day, wanted.hash_slots, list(wanted.pinned)),
    ).fetchone()
    return bool(row and row[0])


def _is_there(connection: psycopg.Connection, name: str) -> bool:
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone()
    return bool(row and row[0])


def _day(digits: str) -> date:
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))


def _tick_dataset(dataset: str) -> str:
    if dataset not in TICK_DATASETS:
        raise WrongUse(dataset, "has no partitions", f"one of {', '.join(TICK_DATASETS)}")
    return dataset

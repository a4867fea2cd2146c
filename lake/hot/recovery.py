"""The store's incarnations, its recovery window and its backups, as the database knows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from lake.errors import BadInput


@dataclass(frozen=True, slots=True)
class Incarnation:
    """A life of the store: its number, the moment it was restored to (None: it never was), and
    shard -> last frame that was known to be stored before.
    """

    number: int
    restored_to: datetime | None
    was_written: Mapping[int, int]


def incarnation(connection: psycopg.Connection) -> Incarnation:
    """Return the newest incarnation."""
    row = connection.execute(
        "SELECT incarnation, restored_to, was_written FROM market.incarnations"
        " ORDER BY incarnation DESC LIMIT 1"
    ).fetchone()
    assert row is not None
    return Incarnation(row[0], row[1], {int(shard): last for shard, last in row[2].items()})


def begin_incarnation(
    connection: psycopg.Connection, *, restored_to: datetime, was_written: Mapping[int, int]
) -> int:
    """Fence every writer of before; return the new incarnation's number.

    What was restored does not know of incarnations that came after it; the server's timeline does:
    it is one beyond every timeline in the archive.
    """
    with connection.transaction():
        connection.execute(beginning(restored_to=restored_to, was_written=was_written))
        return incarnation(connection).number


def beginning(*, restored_to: datetime, was_written: Mapping[int, int]) -> sql.Composed:
    """Return the statement that begins an incarnation, for whom no connection of ours reaches."""
    return sql.SQL(
        "SELECT market.begin_incarnation(greatest("
        "(SELECT max(incarnation) + 1 FROM market.incarnations),"
        " ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int),"
        " {restored_to}::timestamptz, {was_written}::jsonb)"
    ).format(
        restored_to=sql.Literal(restored_to.isoformat()),
        was_written=sql.Literal(json.dumps(was_written)),
    )


OTHERS = "others"
"""The place of backups where who runs the server takes them; we see its archived log alone."""


def shipped(place: str) -> bool:
    """Tell whether the log is brought to this place by a process beside the server."""
    return "://" in place


def keep_for(connection: psycopg.Connection, window_hours: int | None, place: str) -> None:
    """Set the recovery window; None where backups are off.

    Raises BadInput where others run the server, and it archives no log: nothing would ever be let
    go of.
    """
    row = connection.execute("SHOW archive_mode").fetchone()
    if window_hours is not None and (place == OTHERS or shipped(place)) and row == ("off",):
        raise BadInput("TICKLAKE_BACKUP", "the server archives no log", "set up its backups first")
    with connection.transaction():
        if window_hours is None:
            connection.execute("DELETE FROM market.recovery")
            return
        connection.execute(
            "INSERT INTO market.recovery (window_hours, place) VALUES (%s, %s) ON CONFLICT (one)"
            " DO UPDATE SET window_hours = excluded.window_hours, place = excluded.place"
            " WHERE (market.recovery.window_hours, market.recovery.place)"
            " IS DISTINCT FROM (excluded.window_hours, excluded.place)",
            (window_hours, place),
        )


def window_s(connection: psycopg.Connection) -> int:
    """Return the recovery window in seconds; 0 where backups are off."""
    row = connection.execute(
        "SELECT extract(epoch FROM market.recovery_window())::bigint"
    ).fetchone()
    assert row is not None
    return int(row[0])

"""Take a base backup of a home's PostgreSQL, and let go of those that no restore needs.

The log between them is archived by the server all the time; `backup_now` is what a schedule calls
once a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import psycopg

from infra.recovery.place import Backup, Place, Source, expendable
from lake.clock import Clock, utc_from_us
from lake.errors import Unavailable, WrongUse
from lake.hot.recovery import window_s
from lake.hot.turn import turn

TURN = "backup"
ARCHIVED_S_MAX = 60.0
ARCHIVED_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Taken:
    """The new backup, and those that were deleted."""

    backup: Backup
    deleted: Sequence[Backup]


def backup_now(dsn: str, place: Place, server: Source, clock: Clock) -> Taken:
    """Take a base backup, note it, and delete what is older than the recovery window needs.

    dsn: of the owner or the operator. Raises Unavailable, also while another one is being taken;
    WrongUse where the server does not archive.
    """
    with turn(dsn, TURN), psycopg.connect(dsn, autocommit=True) as connection:
        if connection.execute("SHOW archive_mode").fetchone() == ("off",):
            raise WrongUse(
                "backup", "this server keeps no log", "restart it: ticklake down, then up"
            )
        backup = place.take(server, clock)
        note_shipped(connection, place.ship())
        connection.execute(
            "INSERT INTO market.backups (name, began_at, ended_at) VALUES (%s, %s, %s)",
            (backup.name, backup.began_at, backup.ended_at),
        )
        since = utc_from_us(clock.now_us()) - timedelta(seconds=window_s(connection))
        there = place.backups()
        gone = expendable(there, since)
        if gone:
            place.forget(gone, next(each for each in there if each not in gone), server)
        connection.execute(
            "DELETE FROM market.backups WHERE name <> ALL(%s)",
            ([each.name for each in there if each not in gone],),
        )
    return Taken(backup, gone)


def ship_now(dsn: str, place: Place) -> str | None:
    """Bring the archived log to where it rests; return the last segment's file, if any was new."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        last = place.ship()
        note_shipped(connection, last)
    return last


def note_shipped(connection: psycopg.Connection, last: str | None) -> None:
    """Note how far the log is where backups rest; journal segments wait for it."""
    if last is not None:
        connection.execute(
            "UPDATE market.recovery SET shipped_upto = greatest(shipped_upto,"
            " market.end_of_segment(%s))",
            (last,),
        )


def archive_now(connection: psycopg.Connection, clock: Clock) -> None:
    """Have everything that is committed archived; connection is a superuser's, in autocommit mode.

    Raises Unavailable when it is not in ARCHIVED_S_MAX.
    """
    # What is asked for may be later than the last commit, and recovery must meet a later one.
    connection.execute("UPDATE market.recovery SET window_hours = window_hours")
    row = connection.execute("SELECT pg_switch_wal()").fetchone()
    assert row is not None
    end_us = clock.monotonic_us() + int(ARCHIVED_S_MAX * 1e6)
    while clock.monotonic_us() < end_us:
        done = connection.execute(
            "SELECT coalesce(market.archived_upto() >= %s::pg_lsn, false)", row
        ).fetchone()
        if done == (True,):
            return
        clock.sleep(ARCHIVED_LOOK_S)
    raise Unavailable("archive", "the log does not get there", "see the server's log")

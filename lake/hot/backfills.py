"""How far each backfill has come; its row is written when what it speaks of is in the journal."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg


@dataclass(frozen=True, slots=True)
class Progress:
    """One backfill: all before position is in; rows given, and how many were quarantined."""

    source: str
    position: int
    rows: int = 0
    contradicting: int = 0
    refused: int = 0
    done: bool = False


def progress_of(connection: psycopg.Connection, source: str, start: int) -> Progress:
    """Return how far a backfill is; one that never began is at start."""
    row = connection.execute(
        "SELECT position, rows, contradicting, refused, done FROM market.backfills"
        " WHERE source = %s",
        (source,),
    ).fetchone()
    return Progress(source, start) if row is None else Progress(source, *row)


def note(connection: psycopg.Connection, now: Progress) -> None:
    """Write how far a backfill is."""
    connection.execute(
        "INSERT INTO market.backfills (source, position, rows, contradicting, refused, done)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (source) DO UPDATE SET"
        " position = excluded.position, rows = excluded.rows,"
        " contradicting = excluded.contradicting, refused = excluded.refused,"
        " done = excluded.done, updated_time = now()",
        (now.source, now.position, now.rows, now.contradicting, now.refused, now.done),
    )
    if not connection.autocommit:
        connection.commit()


def forget(connection: psycopg.Connection, source: str) -> None:
    """Begin a backfill anew the next time."""
    connection.execute("DELETE FROM market.backfills WHERE source = %s", (source,))

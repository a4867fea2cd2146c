"""The book of the archive: which rows left the lake, in which file they are, which are gone.

A file's rows have left once the lake table's property `ticklake.left`, which moves in the commit
that removes them, has reached the file's number. A file with a higher number belongs to a run that
died before its commit: its rows are still in the lake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import psycopg

from lake.archive.content import Content


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A file of the archive. came_at: when the day's last row was stored (UTC)."""

    dataset: str
    number: int
    day: date
    path: str
    bytes: int
    sha256: str
    content: Content
    came_at: datetime


_COLUMNS = "dataset, number, day, path, bytes, sha256, rows, sum_a, sum_b, digest, came_at"


def left_content(connection: psycopg.Connection, dataset: str, day: date, left: int) -> Content:
    """Return what has left a table of a day; left: the table's property."""
    row = connection.execute(
        "SELECT coalesce(sum(rows), 0), coalesce(sum(sum_a), 0), coalesce(sum(sum_b), 0),"
        " coalesce(sum(digest), 0) FROM market.archive_files"
        " WHERE dataset = %s AND day = %s AND number <= %s",
        (dataset, day, left),
    ).fetchone()
    return Content.read(row or (0, 0, 0, 0))


def left_days(
    connection: psycopg.Connection, dataset: str, left: int, first: date, last: date
) -> set[date]:
    """Return the days of first to last, both included, of which rows have left a table."""
    rows = connection.execute(
        "SELECT DISTINCT day FROM market.archive_files"
        " WHERE dataset = %s AND number <= %s AND day BETWEEN %s AND %s",
        (dataset, left, first, last),
    )
    return {day for (day,) in rows}


def held_files(connection: psycopg.Connection, dataset: str | None = None) -> list[ArchiveFile]:
    """Return the files that the archive holds, of one dataset or all, oldest day first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM market.archive_files WHERE deleted_at IS NULL"
        " AND dataset = coalesce(%s, dataset) ORDER BY dataset, day, number".encode(),
        (dataset,),
    )
    return [
        ArchiveFile(name, number, day, path, size, sha256, Content.read(content), came)
        for name, number, day, path, size, sha256, *content, came in rows
    ]


def last_number(connection: psycopg.Connection, dataset: str) -> int:
    """Return the highest number that is taken; 0 before the first."""
    row = connection.execute(
        "SELECT coalesce(max(number), 0) FROM market.archive_files WHERE dataset = %s", (dataset,)
    ).fetchone()
    return int(row[0]) if row else 0


def enter(connection: psycopg.Connection, files: Sequence[ArchiveFile], now: datetime) -> None:
    """Enter files, all or none, before the commit that removes their rows from the lake."""
    with connection.transaction():
        for file in files:
            content = file.content
            connection.execute(
                f"INSERT INTO market.archive_files ({_COLUMNS}, archived_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)".encode(),
                (
                    *(file.dataset, file.number, file.day, file.path, file.bytes, file.sha256),
                    *(content.rows, content.sum_a, content.sum_b, content.digest),
                    *(file.came_at, now),
                ),
            )


def strike_out(connection: psycopg.Connection, file: ArchiveFile) -> None:
    """Strike out a file whose rows never left the lake."""
    connection.execute(
        "DELETE FROM market.archive_files WHERE dataset = %s AND number = %s",
        (file.dataset, file.number),
    )


def note_deleted(connection: psycopg.Connection, file: ArchiveFile, now: datetime) -> None:
    """Note that a file's age was over and that it is gone; its content stays in the book."""
    connection.execute(
        "UPDATE market.archive_files SET deleted_at = %s WHERE dataset = %s AND number = %s",
        (now, file.dataset, file.number),
    )

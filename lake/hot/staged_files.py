"""The book of staged files: rows of history that go to the lake without having been in hot tables.

Its rows are written with their batch. Whether the lake holds a file is said by `through` of its
table and by nothing else; the time noted here only tells upkeep which files wait for a commit.
"""

from __future__ import annotations

from collections.abc import Mapping

import psycopg

BOOK = "staged_files"


def staged_within(
    connection: psycopg.Connection, dataset: str, shard: int, after: int, upto: int
) -> list[tuple[str, int]]:
    """Return path and rows of a dataset's staged files of frames (after, upto], in their order."""
    rows = connection.execute(
        "SELECT path, rows FROM market.staged_files WHERE dataset = %s AND shard = %s"
        " AND last_frame > %s AND last_frame <= %s ORDER BY last_frame, day",
        (dataset, shard, after, upto),
    ).fetchall()
    return [(str(path), int(count)) for path, count in rows]


def note_in_lake(connection: psycopg.Connection, dataset: str, through: Mapping[int, int]) -> int:
    """Note of every staged file that a table through these frames holds it; return how many."""
    if not through:
        return 0
    return connection.execute(
        "UPDATE market.staged_files AS f SET in_lake_time = clock_timestamp()"
        " FROM unnest(%s::int[], %s::bigint[]) AS t (shard, frame)"
        " WHERE f.in_lake_time IS NULL AND f.dataset = %s AND f.shard = t.shard"
        " AND f.last_frame <= t.frame",
        (list(through), list(through.values()), dataset),
    ).rowcount


def waiting_files(connection: psycopg.Connection, dataset: str) -> set[str]:
    """Return the staged files of a dataset that the lake is not known to hold."""
    rows = connection.execute(
        "SELECT path FROM market.staged_files WHERE dataset = %s AND in_lake_time IS NULL",
        (dataset,),
    )
    return {str(path) for (path,) in rows}

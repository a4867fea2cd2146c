"""What the hot tier holds of a shard: at the start, as the journal may be lost, and at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg

from lake.errors import Unavailable
from lake.state import remedy

BATCHES = 1_000
"""Newest batches in which the feeds' last times are looked for."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Last frame, inclusive; feed -> when its newest batch was made, microseconds UTC."""

    last_frame: int
    times_us: Mapping[str, int]


def stored_of(dsn: str, shard: int) -> Stored:
    """Return what is stored of a shard; raises Unavailable."""
    try:
        with psycopg.connect(dsn) as connection:
            row = connection.execute(
                "SELECT last_frame FROM market.shards WHERE shard = %s", (shard,)
            ).fetchone()
            times = connection.execute(_TIMES, (shard, BATCHES)).fetchall()
    except psycopg.OperationalError as error:
        said = str(error).strip()
        raise Unavailable("hot tier", said, remedy(said, "is the server up?")) from error
    return Stored(row[0] if row else 0, {feed: int(us) for feed, us in times})


def fates_since(dsn: str, shard: int, frame: int) -> dict[str, int]:
    """Return what became of a shard's events beyond a frame that a batch ended with, by class.

    frames, events, stored, duplicate, quarantined and ignored, as the ledger has them; records of
    our own among the frames are ignored ones. Raises Unavailable.
    """
    try:
        with psycopg.connect(dsn) as connection:
            row = connection.execute(_FATES, (shard, frame)).fetchone()
    except psycopg.OperationalError as error:
        said = str(error).strip()
        raise Unavailable("hot tier", said, remedy(said, "is the server up?")) from error
    return {name: int(count) for name, count in zip(FATES, row or (), strict=True)}


FATES = ("frames", "events", "stored", "duplicate", "quarantined", "ignored")
_FATES = (
    f"SELECT {', '.join(f'coalesce(sum({name}), 0)' for name in FATES)}"
    " FROM market.ingest_batches WHERE shard = %s AND first_frame > %s"
)

_TIMES = """
SELECT feed, max(extract(epoch FROM committed_time) * 1000000) FROM (
    SELECT feed, committed_time FROM market.ingest_batches WHERE shard = %s
    ORDER BY seq DESC LIMIT %s
) AS newest GROUP BY feed
"""

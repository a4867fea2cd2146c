"""What batches the hot tier has committed, asked without its columns: commands start sooner."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import psycopg


def last_frames(connection: psycopg.Connection) -> Mapping[int, int]:
    """Return shard -> last frame committed to the hot tier, inclusive."""
    return dict(
        connection.execute("SELECT shard, last_frame FROM market.shards ORDER BY shard").fetchall()
    )


def frame_within(
    connection: psycopg.Connection, shard: int, after: int, last_frame: int, *, rows_max: int
) -> int:
    """Return the last batch end at or before last_frame so that (after, it] holds about rows_max
    rows at most; at least one batch is taken.
    """
    found = connection.execute(
        "SELECT coalesce(max(last_frame) FILTER (WHERE before <= %(rows)s), %(last)s) FROM ("
        " SELECT last_frame, sum(stored) OVER (ORDER BY last_frame) - stored AS before"
        " FROM market.ingest_batches"
        " WHERE shard = %(shard)s AND last_frame > %(after)s AND last_frame <= %(last)s) AS b",
        {"rows": rows_max, "last": last_frame, "shard": shard, "after": after},
    ).fetchone()
    assert found is not None
    return int(found[0])


def last_write(connection: psycopg.Connection, last_frames: dict[int, int]) -> datetime:
    """Return when the newest of these batches (shard -> its last frame) was stored, UTC."""
    times = [datetime.fromtimestamp(0, UTC)]
    for shard, frame in last_frames.items():
        row = connection.execute(
            "SELECT max(committed_time) FROM market.ingest_batches"
            " WHERE shard = %s AND last_frame = %s",
            (shard, frame),
        ).fetchone()
        if row and row[0]:
            times.append(row[0])
    return max(times)

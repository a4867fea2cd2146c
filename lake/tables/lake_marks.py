"""What each snapshot of ours holds, noted in PostgreSQL before the snapshot is committed.

An engine that learns the lake's snapshot while its query runs (Trino) asks the hot tier's
`market.<dataset>_tail` for the rows beyond that snapshot; PostgreSQL then reads no others.
A note for a commit that failed names a snapshot that nobody will ever see.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy import bindparam, text

MARK_KEPT_S = 3_600
"""Seconds that a note outlives its snapshot: longer than any query on it."""

_NOTE = text(
    "INSERT INTO market.lake_marks (dataset, snapshot_id, through, closed_us)"
    " VALUES (:dataset, :snapshot_id, CAST(:through AS jsonb), :closed_us)"
    " ON CONFLICT (dataset, snapshot_id) DO NOTHING"
)
_FORGET = text(
    "DELETE FROM market.lake_marks WHERE dataset = :dataset AND snapshot_id NOT IN :kept"
    " AND noted_at < clock_timestamp() - make_interval(secs => :age_s)"
).bindparams(bindparam("kept", expanding=True))


def note_mark(
    catalog: SqlCatalog,
    dataset: str,
    snapshot_id: int,
    through: Mapping[int, int],
    closed_us: int | None = None,
) -> None:
    """Note which frames (shard -> last, inclusive) a snapshot will hold, before it is committed.

    closed_us: of bars, the time before which every bucket is closed, in microseconds since 1970.
    """
    frames = json.dumps({str(shard): frame for shard, frame in through.items()})
    with catalog.engine.begin() as connection:
        connection.execute(
            _NOTE,
            {
                "dataset": dataset,
                "snapshot_id": snapshot_id,
                "through": frames,
                "closed_us": closed_us,
            },
        )


def forget_marks(catalog: SqlCatalog, dataset: str, kept: Iterable[int]) -> int:
    """Forget notes older than MARK_KEPT_S of snapshots that are not kept; return how many."""
    values = {"dataset": dataset, "kept": [0, *kept], "age_s": MARK_KEPT_S}
    with catalog.engine.begin() as connection:
        return connection.execute(_FORGET, values).rowcount

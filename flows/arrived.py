"""Which ticks a table made of them lacks: those of frames beyond its marks, and those that waited.

A tick waits where its minute had not closed when its frame was taken.
"""

from __future__ import annotations

from collections.abc import Mapping

import psycopg

from lake.bars.bars_table import Marks
from lake.hot.batches import frame_within
from lake.views.union_view import last_seq


def frames_upto(
    dsn: str, held: Marks, rows_max: int, shown: Mapping[int, int]
) -> tuple[Mapping[int, int], bool]:
    """Return shard -> last frame to take now, about rows_max rows of each, and if more wait.

    shown: shard -> last frame that the caller's views show (Client.frames): of a batch that came
    since then they may lack the rows that are in no hot table.
    """
    upto = {}
    more = False
    with psycopg.connect(dsn, autocommit=True) as connection:
        for shard, last in shown.items():
            after = held.through.get(shard, 0)
            if after < last:
                upto[shard] = frame_within(connection, shard, after, last, rows_max=rows_max)
                more = more or upto[shard] < last
    return upto, more


def arrived(dataset: str, held: Marks, marks: Marks) -> str:
    """Select what is in the table at `marks` and was not at `held`.

    A statement per shard and reason, so that each condition reaches the files' bounds and the hot
    tier's indexes.
    """
    parts = []
    for shard, upto in marks.through.items():
        after = held.through.get(shard, 0)
        if after < upto:
            frames = f"seq > {last_seq(after)} AND seq <= {last_seq(upto)}"
            parts.append(selected(dataset, shard, frames, 0, marks.closed_us))
        if after and held.closed_us < marks.closed_us:
            waited = f"seq <= {last_seq(after)}"
            parts.append(selected(dataset, shard, waited, held.closed_us, marks.closed_us))
    return " UNION ALL ".join(parts) or f"FROM {dataset} WHERE false"


def selected(dataset: str, shard: int, frames: str, first_us: int, last_us: int) -> str:
    """Select the ticks of some frames of a shard, of [first, last)."""
    times = f"event_time >= from_us({first_us}) AND event_time < from_us({last_us})"
    return f"FROM {dataset} WHERE shard = {shard} AND {frames} AND {times}"

"""Rows of staged files that a lake at some watermark does not hold yet: a third part of the union.

A batch of history in bulk writes its old rows as files of the lake and none into hot tables. From
its transaction on they are read from these files, until `through` says that the table holds them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lake.warehouse import readable

TOLD_S = 600
"""Seconds that readers are still told of a file after the lake holds it: a look at the catalog may
be older than the look at the book of files, by far less."""

FRAMES_AND_FILES = f"""
SELECT s.shard::int AS shard, s.last_frame, f.dataset, f.first_frame AS first_frame,
    f.last_frame AS upto, f.path
FROM market.shards AS s LEFT JOIN market.staged_files AS f ON f.shard = s.shard
    AND (f.in_lake_time IS NULL OR f.in_lake_time > now() - interval '{TOLD_S} s')
ORDER BY 1, 5, 6
"""
"""One row a shard, or one a file of it that a reader may need: both of one moment."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A staged file: rows of a dataset of frames first to last (inclusive) of a shard."""

    dataset: str
    shard: int
    first_frame: int
    last_frame: int
    path: str


def frames_and_files(
    rows: Collection[Sequence[object]],
) -> tuple[dict[int, int], tuple[Staged, ...]]:
    """Return shard -> last frame, and the files, of rows as FRAMES_AND_FILES gives them."""
    frames = {int(str(row[0])): int(str(row[1])) for row in rows}
    files = [
        Staged(str(row[2]), int(str(row[0])), int(str(row[3])), int(str(row[4])), str(row[5]))
        for row in rows
        if row[2] is not None
    ]
    return frames, tuple(files)


def beyond(dataset: str, through: Mapping[int, int], staged: Collection[Staged]) -> list[str]:
    """Return where the files of a dataset lie that a table through these frames does not hold."""
    return [
        readable(each.path)
        for each in staged
        if each.dataset == dataset and each.last_frame > through.get(each.shard, 0)
    ]

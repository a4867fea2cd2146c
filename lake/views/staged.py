"""Rows of staged files that a lake at some watermark does not hold yet: a third part of the union.

A batch of history in bulk writes its old rows as files of the lake and none into hot tables. From
its transaction on they are read from these files, until `through` says that the table holds them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lake.contracts.contract import TICK_DATASETS
from lake.warehouse import readable


def frames_and_files_sql(through: Mapping[str, Mapping[int, int]]) -> str:
    """Return the query of some rows a shard, one for each file that a reader needs: of one moment.

    through: dataset -> shard -> last frame that the lake shows: however far it was taken back.
    """
    held = [
        f"('{dataset}', {shard}, {frame}::bigint)"
        for dataset in TICK_DATASETS
        for shard, frame in sorted(through.get(dataset, {}).items())
    ]
    values = ", ".join(["('', 0, 0::bigint)", *held])
    datasets = ", ".join(f"('{dataset}')" for dataset in TICK_DATASETS)
    return (
        "SELECT s.shard::int AS shard, s.last_frame, f.dataset, f.first_frame AS first_frame,"
        " f.last_frame AS upto, f.path, to_char(f.day, 'YYYY-MM-DD') AS day"
        f" FROM market.shards AS s CROSS JOIN (VALUES {datasets}) AS d (dataset)"
        f" LEFT JOIN (VALUES {values}) AS h (dataset, shard, frame)"
        " ON h.dataset = d.dataset AND h.shard = s.shard"
        " LEFT JOIN market.staged_files AS f ON f.dataset = d.dataset AND f.shard = s.shard"
        " AND f.last_frame > coalesce(h.frame, 0) ORDER BY 1, 5, 6"
    )


@dataclass(frozen=True, slots=True)
class Staged:
    """A staged file: rows of a dataset of frames first to last (inclusive) of a shard."""

    dataset: str
    shard: int
    first_frame: int
    last_frame: int
    path: str
    day: str


def frames_and_files(
    rows: Collection[Sequence[object]],
) -> tuple[dict[int, int], tuple[Staged, ...]]:
    """Return shard -> last frame, and the files, of rows as frames_and_files_sql gives them."""
    frames = {int(str(row[0])): int(str(row[1])) for row in rows}
    files = [
        Staged(
            *(str(row[2]), int(str(row[0])), int(str(row[3]))),
            *(int(str(row[4])), str(row[5]), str(row[6])),
        )
        for row in rows
        if row[2] is not None
    ]
    return frames, tuple(files)


def beyond(
    dataset: str, through: Mapping[int, int], staged: Collection[Staged], day: str = ""
) -> list[str]:
    """Return where the files of a dataset lie that a table through these frames does not hold.

    day: of which day, as YYYY-MM-DD; by default of all.
    """
    return [
        readable(each.path)
        for each in staged
        if each.dataset == dataset
        and each.last_frame > through.get(each.shard, 0)
        and day in ("", each.day)
    ]

"""After a restore: frames that were stored before it and are not stored again yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lake.journal.reader import JournalReader
from lake.journal.segment import segments
from lake.verify.frames_check import FRAMES
from lake.verify.reading import Reading
from lake.verify.report import Fault

_NEWEST = """
SELECT incarnation, to_char(restored_to AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS moment,
    w.key::int AS shard, w.value::bigint AS frame
FROM market.incarnations CROSS JOIN LATERAL jsonb_each_text(was_written) AS w
WHERE incarnation = (SELECT max(incarnation) FROM market.incarnations) AND restored_to IS NOT NULL
ORDER BY shard
"""


def check_restored(reading: Reading, journal: Path | None) -> list[Fault]:
    """Name what a restore took and the journal has not yet closed; journal: the shards' folders."""
    if "incarnations" not in reading.tables:
        return []
    return [
        _missing(str(moment), int(shard), reading.shards.get(int(shard), 0), int(last), journal)
        for _, moment, shard, last in reading.hot(_NEWEST)
        if reading.shards.get(int(shard), 0) < int(last)
    ]


def _missing(moment: str, shard: int, stored: int, was: int, journal: Path | None) -> Fault:
    first = stored + 1
    what = f"shard {shard} frames {first} to {was} are missing since the restore to {moment}"
    if journal is None:
        return Fault("hot", FRAMES, "journal not looked at", what)
    folder = journal / f"shard-{shard}"
    kept = sorted(_kept(folder, shard, first, was))
    if kept and kept[0] == first and kept[-1] == was:
        remedy = "the journal holds them all: start ingest, which writes them again"
    elif kept:
        remedy = f"the journal holds {kept[0]} to {kept[-1]} of them; the others are lost"
    else:
        remedy = "the journal holds none of them: they are lost"
    return Fault("hot", FRAMES, str(folder), f"{what}; {remedy}")


def _kept(folder: Path, shard: int, first: int, last: int) -> Iterator[int]:
    """Yield the bounds of the frames within [first, last] that a journal still has."""
    found = segments(folder) if folder.is_dir() else []
    if not found:
        return
    reader = JournalReader(folder, shard)
    durable = reader.durable()
    reader.close()
    low, high = max(first, min(each.first_frame for each in found)), min(last, durable)
    if low <= high:
        yield low
        yield high

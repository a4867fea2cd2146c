"""Batches against frames and ledger: contiguous, complete, and every event in one class."""

from __future__ import annotations

from collections.abc import Mapping

from lake.contracts.contract import TICK_DATASETS
from lake.verify.marks import DatasetMarks
from lake.verify.reading import Reading, frames_sql
from lake.verify.report import Fault
from lake.views.engine import quote

BATCHES = "ingest_batches"
WHERE = "market.ingest_batches"


def check_batches(reading: Reading, marks: DatasetMarks) -> tuple[list[Fault], DatasetMarks]:
    """Check the batches beyond the marks; return the faults and the marks that hold now."""
    rows = reading.hot(_batches_sql(marks.frames, reading.shards))
    faults: list[Fault] = []
    frames = dict(marks.frames)
    events = 0
    for shard, first, last, *counts in rows:
        batch = f"shard {shard} frames {first} to {last}"
        due = frames.get(shard, 0) + 1
        if first != due:
            faults.append(_fault(f"{batch}: the batch should begin at frame {due}"))
        frames[shard] = last
        events += counts[1]
        faults += [_fault(f"{batch}: {what}") for what in _miscounts(last - first + 1, counts)]
    for shard, last in reading.shards.items():
        if frames.get(shard, 0) != last:
            what = f"shard {shard}: batches end at frame {frames.get(shard, 0)}, not at {last}"
            faults.append(_fault(what))
    return faults, DatasetMarks(frames=frames, events=marks.events + events)


def _miscounts(span: int, counts: list[int]) -> list[str]:
    frames, events, stored, quarantined, duplicate, ignored, rows, poison = counts
    classes = stored + quarantined + duplicate + ignored
    found = []
    if frames != span:
        found.append(f"{frames:,} frames counted of {span:,}")
    if events != classes:
        found.append(f"{events:,} events, but classes that add up to {classes:,}")
    if stored != rows:
        found.append(f"{stored:,} events stored, but {rows:,} rows in the ledger")
    if quarantined != poison:
        found.append(f"{quarantined:,} events quarantined, but {poison:,} rows in the ledger")
    return found


def _fault(what: str) -> Fault:
    return Fault("journal", BATCHES, WHERE, what)


def _batches_sql(after: Mapping[int, int], upto: Mapping[int, int]) -> str:
    # Rows beyond the shard's last frame are a fault too, so only the lower bound is asked for.
    within = frames_sql(after, dict.fromkeys(upto, _FRAME_MAX))
    ticks = ", ".join(quote(name) for name in TICK_DATASETS)
    return f"""
SELECT b.shard::int AS shard, b.first_frame, b.last_frame, sum(b.frames)::bigint AS frames,
  sum(b.events)::bigint AS events, sum(b.stored)::bigint AS stored,
  sum(b.quarantined)::bigint AS quarantined, sum(b.duplicate)::bigint AS duplicate,
  sum(b.ignored)::bigint AS ignored, coalesce(max(l.stored), 0)::bigint AS rows,
  coalesce(max(l.poison), 0)::bigint AS poison
FROM market.ingest_batches b LEFT JOIN (
  SELECT shard, first_frame, last_frame, sum(rows) FILTER (WHERE dataset IN ({ticks})) AS stored,
    sum(rows) FILTER (WHERE dataset = 'quarantine') AS poison
  FROM market.ledger_minutes WHERE {within} GROUP BY 1, 2, 3
) l USING (shard, first_frame, last_frame)
WHERE {within} GROUP BY b.shard, b.first_frame, b.last_frame ORDER BY 1, 2
"""


_FRAME_MAX = 1 << 46

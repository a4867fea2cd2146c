"""Upkeep under Prefect."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.place import place_of
from flows.scheduled.schedule import Schedule
from flows.scheduled.tries import Progress, tried
from flows.small_files_to_large import FLOW_DATASETS, ORPHAN_AGE_S, keep
from lake.clock import SystemClock

UPKEEP_S_MAX = 1_800
UPKEEP_EVERY = timedelta(minutes=10)
SWEEP_EVERY_S = 3_600
"""One run in so long looks for files that nothing names, which costs a listing of the table."""


@tried("keep a table")
def keep_table(home: Path | None, dataset: str) -> str:
    """Merge a table's small files and let go of what nobody needs."""
    place, clock = place_of(home), SystemClock()
    sweep = clock.now_us() // 1_000_000 % SWEEP_EVERY_S < UPKEEP_EVERY.total_seconds()
    age_s = ORPHAN_AGE_S if sweep else None
    namespace = place.lineage.namespace
    kept = keep(place.dsn, place.warehouse, clock, dataset, sweep_age_s=age_s, namespace=namespace)
    return kept.line()


@flow(name="small-files-to-large", timeout_seconds=UPKEEP_S_MAX)
def small_files_to_large(home: Path | None = None) -> list[str]:
    """Upkeep of the tables that flows make: merged files, fewer snapshots, no file too many."""
    progress = Progress("tables")
    lines = []
    for done, dataset in enumerate(FLOW_DATASETS, 1):
        lines.append(keep_table(home, dataset))
        progress.show(done / len(FLOW_DATASETS))
    create_markdown_artifact("\n".join(f"- {line}" for line in lines), key="upkeep")
    return lines


UPKEEP = Schedule("upkeep", small_files_to_large, UPKEEP_EVERY, at=timedelta(minutes=3, seconds=30))

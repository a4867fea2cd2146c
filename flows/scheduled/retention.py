"""Retention under Prefect."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact

from flows.hot_to_archive import Retained, retention_of
from flows.place import place_of
from flows.scheduled.schedule import Schedule
from flows.scheduled.tries import in_one, tried
from lake.clock import SystemClock
from lake.errors import Damaged
from lake.parts import ShowPart

RETENTION_S_MAX = 6 * 3_600


@tried("let data move on")
def move_on(home: Path | None, show: ShowPart) -> Retained:
    """Move every day that is due to its next tier, proven, and measure the tiers."""
    return retention_of(place_of(home), SystemClock()).run(show)


@flow(name="hot-to-archive", timeout_seconds=RETENTION_S_MAX)
def hot_to_archive(home: Path | None = None) -> int:
    """Retention by contract: hot, lake, archive, gone; what each tier holds and costs."""
    with in_one("retention") as show:
        found = move_on(home, show)
    create_table_artifact(
        key="retention",
        table=[
            {
                "tier": each.tier,
                "dataset": each.dataset,
                "day": str(each.day),
                "rows": each.rows,
                "what": "gone" if each.gone else each.reason,
            }
            for each in found.moved
        ],
        description=found.lines()[-1],
    )
    failed = [each.line() for each in found.moved if each.failed]
    if failed:
        raise Damaged("retention", "; ".join(failed), "run `ticklake verify`")
    return sum(each.gone for each in found.moved)


RETENTION = Schedule(
    "retention", hot_to_archive, timedelta(days=1), at=timedelta(hours=14, minutes=30)
)

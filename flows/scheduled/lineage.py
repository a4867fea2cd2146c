"""What flows wrote, under Prefect: to the lake."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.numbered_to_lake import take
from flows.place import place_of
from flows.scheduled.schedule import Schedule
from flows.scheduled.tries import Progress, tried
from lake.contracts.contract import NUMBERED_DATASETS

LINEAGE_S_MAX = 600


@tried("take a book to the lake")
def take_book(home: Path | None, dataset: str) -> str:
    """Append what flows wrote since to the lake's table."""
    place = place_of(home)
    return take(place.dsn, place.warehouse, dataset).line()


@flow(name="numbered-to-lake", timeout_seconds=LINEAGE_S_MAX)
def numbered_to_lake(home: Path | None = None) -> list[str]:
    """What flows wrote (events of lineage, results of quality) goes to the lake, each row once."""
    progress = Progress("numbered")
    lines = []
    for done, dataset in enumerate(NUMBERED_DATASETS, 1):
        lines.append(take_book(home, dataset))
        progress.show(done / len(NUMBERED_DATASETS))
    create_markdown_artifact("\n".join(f"- {line}" for line in lines), key="numbered")
    return lines


LINEAGE = Schedule(
    "lineage", numbered_to_lake, timedelta(minutes=10), at=timedelta(minutes=4, seconds=30)
)

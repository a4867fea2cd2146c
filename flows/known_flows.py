"""The flows that Prefect knows: each is a mover of ours with parameters, limits and a report.

A flow can be called like any function, and what it wraps needs no Prefect: the command's verbs call
that. Retries are of servers' faults only; what is wrong with the data stays wrong.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from prefect import flow, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff

from flows.place import place_of
from flows.resident import keep_bars
from flows.small_files_to_large import KEPT_DATASETS, keep
from flows.trades_to_bars import Step, TradesToBars
from lake.clock import SystemClock, utc_from_us
from lake.errors import Unavailable

RETRIES_MAX = 4
BACKOFF_S = 2
BARS_S_MAX = 3_600
UPKEEP_S_MAX = 1_800
KEEP_MINUTES = 60
HOUR_S = 3_600


class Progress:
    """A bar of progress in Prefect's UI."""

    def __init__(self, of: str) -> None:
        made = create_progress_artifact(0.0, description=of)
        assert isinstance(made, UUID)
        self._id = made

    def show(self, part: float) -> None:
        """Move it to a part of the whole, 0 to 1."""
        update_progress_artifact(self._id, 100 * min(1.0, part))


def is_passing(_task: Task[..., object], _run: TaskRun, state: State[object]) -> bool:
    """Tell whether another try may help: a server, a lock or a race, and not the data."""
    try:
        state.result()
    except Unavailable:
        return True
    except Exception:
        return False
    return False


@task(
    name="publish new bars",
    retries=RETRIES_MAX,
    retry_delay_seconds=exponential_backoff(BACKOFF_S),
    retry_condition_fn=is_passing,
)
def publish_bars(home: Path | None, first: datetime | None, last: datetime | None) -> list[Step]:
    """Take what is new; then make the bars of [first, last) anew, where they are given."""
    place = place_of(home)
    with TradesToBars(place.dsn, place.warehouse, grace_ms=place.settings.bars_grace_ms) as maker:
        steps = maker.drain()
        if first is not None and last is not None:
            steps += maker.rebuild(micros(first), micros(last))
    return steps


@flow(name="trades-to-bars", timeout_seconds=BARS_S_MAX)
def trades_to_bars(
    home: Path | None = None, first: datetime | None = None, last: datetime | None = None
) -> int:
    """Bars of 1s, 1m, 5m, 1h and 1d of the trades that are new, published all together or not.

    first, last: make the bars of this time anew too (last is exclusive; UTC where they name no
    zone). The same call gives the same bars.
    """
    steps = publish_bars(home, first, last)
    create_table_artifact(
        key="bars",
        table=[
            {
                "put": s.put,
                "anew": s.dropped,
                "closed before": f"{utc_from_us(s.closed_us):%Y-%m-%d %H:%M} UTC",
                "snapshot": s.snapshot_id,
            }
            for s in steps
        ],
        description=f"{sum(step.put for step in steps):,} bars published in {len(steps)} commits",
    )
    return sum(step.put for step in steps)


@flow(name="keep-bars", timeout_seconds=HOUR_S + 300)
def keep_bars_hourly(home: Path | None = None, minutes: int = KEEP_MINUTES) -> int:
    """Bars of each minute as it closes, for an hour; the process that stays runs it again."""
    return run_bars(home, minutes, threading.Event(), report=True)


def run_bars(home: Path | None, minutes: int, stop: threading.Event, *, report: bool) -> int:
    """Make bars minute by minute for so many minutes; report: tell Prefect how far it is."""
    place, clock = place_of(home), SystemClock()
    start_us = clock.now_us()
    until_us = start_us + minutes * 60_000_000
    progress = Progress("minutes") if report else None
    put = 0

    def told(step: Step) -> None:
        nonlocal put
        put += step.put
        if progress is not None:
            progress.show((clock.now_us() - start_us) / (until_us - start_us))

    grace_ms = place.settings.bars_grace_ms
    with TradesToBars(place.dsn, place.warehouse, grace_ms=grace_ms) as maker:
        keep_bars(maker, clock, stop, told, until_us=until_us, grace_ms=grace_ms)
    if report:
        create_markdown_artifact(
            f"{put:,} bars in {minutes} minutes", key="kept-bars", description="bars kept"
        )
    return put


@task(
    name="keep a table",
    retries=RETRIES_MAX,
    retry_delay_seconds=exponential_backoff(BACKOFF_S),
    retry_condition_fn=is_passing,
)
def keep_table(home: Path | None, dataset: str) -> str:
    """Merge a table's small files and let go of what nobody needs."""
    place = place_of(home)
    return keep(place.dsn, place.warehouse, SystemClock(), dataset).line()


@flow(name="small-files-to-large", timeout_seconds=UPKEEP_S_MAX)
def small_files_to_large(home: Path | None = None) -> list[str]:
    """Upkeep of the tables that flows make: merged files, fewer snapshots, no file too many."""
    progress = Progress("tables")
    lines = []
    for done, dataset in enumerate(KEPT_DATASETS, 1):
        lines.append(keep_table(home, dataset))
        progress.show(done / len(KEPT_DATASETS))
    create_markdown_artifact("\n".join(f"- {line}" for line in lines), key="upkeep")
    return lines


def micros(time: datetime) -> int:
    """Return microseconds since the epoch; a time without zone is UTC."""
    zoned = time if time.tzinfo else time.replace(tzinfo=UTC)
    return int(zoned.timestamp()) * 1_000_000

"""Bars under Prefect: of what is new, minute by minute, and anew for a time."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.place import place_of
from flows.resident import keep_bars
from flows.scheduled.schedule import Schedule
from flows.scheduled.tries import Progress, in_one, micros, tried
from flows.trades_to_bars import Step, TradesToBars
from lake.clock import SystemClock, utc_from_us
from lake.parts import ShowPart, within

BARS_S_MAX = 3_600
KEEP_MINUTES = 60
HOUR_S = 3_600
NEW_PART = 0.2
"""Of a run that makes a time anew, what is new before it is reckoned to take so much."""


@tried("publish new bars")
def publish_bars(
    home: Path | None, first: datetime | None, last: datetime | None, show: ShowPart
) -> list[Step]:
    """Take what is new; then make the bars of [first, last) anew, where they are given."""
    place = place_of(home)
    with TradesToBars(
        place.dsn,
        place.warehouse,
        grace_ms=place.settings.bars_grace_ms,
        namespace=place.lineage.namespace,
    ) as maker:
        anew = first is not None and last is not None
        steps = maker.drain(within(show, 0, NEW_PART) if anew else show)
        if first is not None and last is not None:
            steps += maker.rebuild(micros(first), micros(last), within(show, NEW_PART, 1))
            if days := maker.archived(micros(first), micros(last)):
                words = ", ".join(map(str, days))
                get_run_logger().info(f"bars of {words} stay: their trades are archived")
    return steps


@flow(name="trades-to-bars", timeout_seconds=BARS_S_MAX)
def trades_to_bars(
    home: Path | None = None, first: datetime | None = None, last: datetime | None = None
) -> int:
    """Bars of 1s, 1m, 5m, 1h and 1d of the trades that are new, published all together or not.

    first, last: make the bars of this time anew too (last is exclusive; UTC where they name no
    zone). The same call gives the same bars; days whose trades are archived keep theirs.
    """
    with in_one("bars") as show:
        steps = publish_bars(home, first, last, show)
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

    grace_ms, namespace = place.settings.bars_grace_ms, place.lineage.namespace
    with TradesToBars(place.dsn, place.warehouse, grace_ms=grace_ms, namespace=namespace) as maker:
        keep_bars(maker, clock, stop, told, until_us=until_us, grace_ms=grace_ms)
    if report:
        create_markdown_artifact(
            f"{put:,} bars in {minutes} minutes", key="kept-bars", description="bars kept"
        )
    return put


BARS = Schedule("bars", trades_to_bars, timedelta(minutes=KEEP_MINUTES), at=timedelta(minutes=10))

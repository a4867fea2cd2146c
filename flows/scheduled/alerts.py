"""Promises and alerts under Prefect: a look that the operator sees, beside the resident's own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact

from flows.scheduled.schedule import Schedule
from flows.scheduled.tries import in_one, tried
from flows.watch import look
from lake.clock import SystemClock

ALERTS_S_MAX = 240


@tried("measure promises and tell")
def measure_and_tell(home: Path | None) -> tuple[list[dict[str, object]], str]:
    """Measure every promise, raise and clear alerts, tell receivers what they were not told yet."""
    checked, told = look(home, SystemClock())
    table: list[dict[str, object]] = [
        {
            "promise": f"{each.measured.promise} of {each.measured.thing}",
            "value": round(each.measured.value, 4),
            "bound": each.measured.bound,
            "kept": each.measured.met,
            "watched": each.watched,
        }
        for each in checked.standings
    ]
    return table, f"{checked.line()}; {told.line()}"


@flow(name="promises-to-alerts", timeout_seconds=ALERTS_S_MAX)
def promises_to_alerts(home: Path | None = None) -> str:
    """Freshness, completeness and quality against what is promised; alerts, told once."""
    with in_one("promises"):
        table, words = measure_and_tell(home)
    create_table_artifact(key="promises", table=table, description=words)
    return words


ALERTS = Schedule("alerts", promises_to_alerts, timedelta(minutes=5), at=timedelta())

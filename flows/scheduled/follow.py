"""Dual-write under Prefect: what an earlier database is given is taken in here, each minute."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.new_rows_to_old import write_back
from flows.old_tables_to_journal import Old, follow
from flows.place import place_of
from flows.scheduled.schedule import Schedule
from flows.scheduled.tries import in_one, tried
from lake.clock import SystemClock
from lake.parts import ShowPart

FOLLOW_S_MAX = 600
EVERY_MINUTES = 1


@tried("follow an earlier database")
def follow_old(home: Path | None, name: str, old_schema: str, show: ShowPart) -> list[str]:
    """Take in what was written there since the last time; nothing where none is named."""
    place = place_of(home)
    if not place.settings.old_dsn:
        return []
    old = Old(place.settings.old_dsn, name, old_schema)
    written = write_back(old, place) if place.settings.old_write == "on" else []
    done = follow(old, place, SystemClock(), show)
    return [*(each.line() for each in written), *(each.line() for each in done)]


@flow(name="old-tables-to-journal", timeout_seconds=FOLLOW_S_MAX)
def old_tables_to_journal(
    home: Path | None = None, name: str = "rrr", old_schema: str = "public"
) -> list[str]:
    """New rows of the earlier database of TICKLAKE_OLD_DSN, so that both sides hold the same."""
    with in_one("followed") as show:
        lines = follow_old(home, name, old_schema, show)
    create_markdown_artifact("\n".join(f"- {line}" for line in lines) or "none", key="followed")
    return lines


FOLLOW = Schedule(
    "follow",
    old_tables_to_journal,
    timedelta(minutes=EVERY_MINUTES),
    at=timedelta(seconds=45),
    is_needed=lambda settings: bool(settings.old_dsn),
)

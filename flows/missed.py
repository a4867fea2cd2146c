"""Runs that were missed: a flow of the day, or a rarer one, whose time came while its home was off.

Prefect forgets what it had planned when the process of the flows begins anew, so a home that is off
at a flow's hour each day would never run it. Whether a run was missed is read from the book of
lineage, which has the ends of all runs, those by hand too. What was missed is run once, whatever
the number of times, one flow after the other, as runs of their deployments.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment

from flows.jobs import job_of
from flows.place import place_of
from flows.resident import RETRY_S
from flows.scheduled.schedule import Schedule
from flows.scheduled.schedules import SCHEDULES
from lake.clock import Clock, utc_from_us
from lake.errors import TicklakeError

SELDOM = timedelta(hours=6)
"""Flows that run at least so seldom are made up for; the others' hour comes soon by itself."""

MADE_UP_MAX = 1
"""Runs of a flow that one start of the flows' process makes up for."""

LOOK_S = 5.0
"""Between two questions whether a run has ended."""


@dataclass(frozen=True, slots=True)
class Missed:
    """A flow whose last due time had no run since that ended well."""

    schedule: Schedule
    due: datetime

    def line(self) -> str:
        """Return it in words."""
        return f"{self.schedule.name}: missed {self.due:%Y-%m-%d %H:%M} UTC, runs now"


def last_due(schedule: Schedule, now: datetime) -> datetime:
    """Return the last time, up to now, at which a flow was to run."""
    return schedule.anchor + (now - schedule.anchor) // schedule.every * schedule.every


def missed(
    connection: psycopg.Connection, now: datetime, schedules: Sequence[Schedule] = SCHEDULES
) -> list[Missed]:
    """Return the seldom flows that did not end well since they were last due, oldest due first.

    What was due before the home's database was made was not missed.
    """
    began = _began(connection)
    found = []
    for each in schedules:
        due = last_due(each, now)
        if each.every < SELDOM or due <= began:
            continue
        ended = _ended(connection, each)
        if ended is None or ended < due:
            found.append(Missed(each, due))
    return sorted(found, key=lambda each: each.due)


def make_up(
    look: Callable[[], list[Missed]], run: Callable[[Missed], object], stop: threading.Event
) -> list[Missed]:
    """Run what was missed, one after the other, each MADE_UP_MAX times at most; return what was.

    It is looked anew before each: what has run meanwhile is not missed any more.
    """
    done: list[Missed] = []
    while not stop.is_set():
        names = [each.schedule.name for each in done]
        left = [each for each in look() if names.count(each.schedule.name) < MADE_UP_MAX]
        if not left:
            break
        print(left[0].line(), file=sys.stderr, flush=True)
        done.append(left[0])
        run(left[0])
    return done


def keep_made_up(
    home: Path,
    clock: Clock,
    stop: threading.Event,
    is_there: Callable[[], bool],
    *,
    prefix: str = "",
    unneeded: Collection[str] = (),
) -> None:
    """Make up for what was missed as soon as Prefect's server is there; a fault is tried again.

    prefix: of the deployments' names. What a home has no need of is not missed.
    """
    needed = [each for each in SCHEDULES if each.name not in unneeded]

    def now() -> datetime:
        return utc_from_us(clock.now_us())

    def look() -> list[Missed]:
        with psycopg.connect(place_of(home).dsn) as connection:
            return missed(connection, now(), needed)

    while not stop.is_set():
        try:
            if is_there():
                make_up(look, lambda each: by_prefect(each, prefix, now()), stop)
                return
        except (TicklakeError, psycopg.Error) as error:
            print(f"missed runs: {str(error).strip()}", file=sys.stderr, flush=True)
        except Exception as error:  # Prefect's own, of many kinds, when its server goes away
            print(f"missed runs: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        stop.wait(RETRY_S)


def by_prefect(one: Missed, prefix: str, now: datetime, *, wait_s: float | None = None) -> FlowRun:
    """Have a flow's deployment run now, and wait for its end; wait_s: None for as long as it may.

    Asked for again in the same hour, it is the same run: a process that starts again and again does
    not run it again and again. Raises what Prefect raises, also where it is not deployed yet.
    """
    each = one.schedule
    due = one.due.strftime("%Y-%m-%dT%H:%M")
    found = run_deployment(
        f"{each.flow.name}/{prefix}{each.name}",
        flow_run_name=f"{each.name} made up for {due}",
        idempotency_key=f"{prefix}{each.name} {due} in {now:%Y-%m-%dT%H}",
        timeout=float(each.flow.timeout_seconds or 0) if wait_s is None else wait_s,
        poll_interval=LOOK_S,
        as_subflow=False,
    )
    assert isinstance(found, FlowRun)
    return found


def _began(connection: psycopg.Connection) -> datetime:
    row = connection.execute("SELECT min(applied_at) FROM market.schema_migrations").fetchone()
    assert row is not None
    began: datetime = row[0]
    return began


def _ended(connection: psycopg.Connection, schedule: Schedule) -> datetime | None:
    """Return when a flow's job last ended well, by whomever it was run."""
    job = job_of(schedule.name, schedule.flow.description or schedule.name)
    row = connection.execute(
        "SELECT max(event_time) FROM market.lineage_events"
        " WHERE job = %s AND event_type = 'COMPLETE'",
        (job.name,),
    ).fetchone()
    return row[0] if row else None

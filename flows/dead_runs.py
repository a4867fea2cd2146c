"""Runs whose process died unseen: Prefect shows them at work for good.

Where the lease of such a run is lost, too, its flow has no place any more, and never runs again: as
its end is said, Prefect gives the place back.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Crashed

from flows.scheduled.schedules import SCHEDULES
from lake.clock import Clock, utc_from_us

TAG = "ticklake"
"""Of every run of ours; the next tag is its schedule's name."""

BEGINS_S_MAX = 600.0
"""From when a run is taken up until it is at work; a process starts in seconds."""

LATE_S_MAX = 600.0
"""Beyond a flow's time limit, at which its process ends it."""

EVERY_S = 60.0
RUNS_AT_ONCE = 200
AT_WORK = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)


def is_dead(run: FlowRun, now: datetime) -> bool:
    """Tell whether nothing can come of a run any more: it neither began nor ended in time."""
    if run.state is None or run.state.type not in AT_WORK:
        return False
    if run.state.type is StateType.PENDING:
        limit_s = BEGINS_S_MAX
    else:
        limits = [each.flow.timeout_seconds for each in SCHEDULES if each.name in run.tags]
        if None in limits or not limits:
            return False
        limit_s = max(each for each in limits if each is not None) + LATE_S_MAX
    return now - run.state.timestamp > timedelta(seconds=limit_s)


def bury(client: SyncPrefectClient, now: datetime) -> list[FlowRun]:
    """Say the end of every run that is dead; return them. Raises what Prefect raises."""
    states = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(AT_WORK)))
    ours = FlowRunFilter(tags=FlowRunFilterTags(all_=[TAG]), state=states)
    found = [
        each
        for each in client.read_flow_runs(flow_run_filter=ours, limit=RUNS_AT_ONCE)
        if is_dead(each, now)
    ]
    for each in found:
        assert each.state is not None
        since = f"{each.state.timestamp:%Y-%m-%d %H:%M} UTC"
        client.set_flow_run_state(
            each.id, Crashed(message=f"nothing was heard of it since {since}")
        )
    return found


def keep_buried(clock: Clock, stop: threading.Event, is_there: Callable[[], bool]) -> None:
    """Bury again and again while Prefect's server is there, until stopped; faults are said."""
    while not stop.is_set():
        try:
            if is_there():
                with get_client(sync_client=True) as client:
                    for each in bury(client, utc_from_us(clock.now_us())):
                        print(f"run {each.name}: its process died", file=sys.stderr, flush=True)
        except Exception as error:  # Prefect's own, of many kinds, when its server goes away
            print(f"dead runs: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        stop.wait(EVERY_S)

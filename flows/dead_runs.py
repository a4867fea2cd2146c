"""Runs whose process died unseen: Prefect shows them at work for good.

Where the lease of such a run is lost, too, its flow has no place any more, and never runs again: as
its end is said, Prefect gives the place back.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from datetime import datetime
from math import inf

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Crashed

from flows.scheduled.bars import keep_bars_hourly
from flows.scheduled.schedule import TAG
from flows.scheduled.schedules import SCHEDULES
from lake.clock import Clock, utc_from_us

BEGINS_S_MAX = 600.0
"""From when a run is taken up until it is at work; a process starts in seconds."""

LATE_S_MAX = 600.0
"""Beyond a flow's time limit, at which its process ends it."""

EVERY_S = 60.0
RUNS_AT_ONCE = 200
AT_WORK = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
LIMITS_S = {
    each.name: each.timeout_seconds or inf
    for each in (keep_bars_hourly, *(schedule.flow for schedule in SCHEDULES))
}
"""How long a run of each flow may be at work, by the flow's name."""


def is_dead(run: FlowRun, flow: str, now: datetime) -> bool:
    """Tell whether nothing can come of a run any more: it neither began nor ended in time.

    flow: its flow's name.
    """
    if run.state is None or run.state.type not in AT_WORK:
        return False
    is_pending = run.state.type is StateType.PENDING
    limit_s = BEGINS_S_MAX if is_pending else LIMITS_S.get(flow, inf) + LATE_S_MAX
    return (now - run.state.timestamp).total_seconds() > limit_s


def bury(client: SyncPrefectClient, now: datetime) -> list[FlowRun]:
    """Say the end of every run that is dead; return them. Raises what Prefect raises."""
    states = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(AT_WORK)))
    ours = FlowRunFilter(tags=FlowRunFilterTags(all_=[TAG]), state=states)
    runs = client.read_flow_runs(flow_run_filter=ours, limit=RUNS_AT_ONCE)
    names = {each: client.read_flow(each).name for each in {run.flow_id for run in runs}}
    found = [run for run in runs if is_dead(run, names[run.flow_id], now)]
    for run in found:
        assert run.state is not None
        words = f"nothing was heard of it since {run.state.timestamp:%Y-%m-%d %H:%M} UTC"
        client.set_flow_run_state(run.id, Crashed(message=words))
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

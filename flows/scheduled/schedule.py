"""One flow on its schedule; every run of it is told of as lineage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import FlowStateHook

from flows.jobs import job_of
from flows.place import place_of
from lake.clock import SystemClock
from lake.errors import TicklakeError
from lake.lineage.event import EventType
from lake.lineage.run import Run, Teller
from lake.settings import Settings

TAG = "ticklake"
"""Of every run of ours."""

ANCHOR = datetime(2024, 1, 1, tzinfo=UTC)
"""A Monday from which all schedules count. Without one Prefect counts from whenever the flow was
deployed, and each start of the flows' process would put a daily flow off by a day."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A flow that runs by itself: its name for the operator, how often, and where it is needed.

    at: how long after ANCHOR it first ran, were it that old; flows stand apart by it.
    Whoever imports the flow has it tell of its runs, by the job of this name in flows.jobs.
    """

    name: str
    flow: Flow[..., Any]
    every: timedelta
    at: timedelta
    is_needed: Callable[[Settings], bool] = field(default=lambda settings: True)

    @property
    def anchor(self) -> datetime:
        """Return one of the times at which it runs; the others are multiples of `every` away."""
        return ANCHOR + self.at

    def __post_init__(self) -> None:
        flow = self.flow
        flow.on_running(_tells(self, "START"))
        flow.on_completion(_tells(self, "COMPLETE"))
        flow.on_failure(_tells(self, "FAIL"))
        flow.on_crashed(_tells(self, "ABORT"))
        flow.on_cancellation(_tells(self, "ABORT"))


def _tells(schedule: Schedule, type_: EventType) -> FlowStateHook[..., Any]:
    def tell(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
        home = flow_run.parameters.get("home")
        try:
            place = place_of(Path(home) if home else None)
        except TicklakeError:
            return  # the run itself says that its home has no servers
        teller = Teller(place.dsn, SystemClock(), place.lineage.namespace)
        job = job_of(schedule.name, flow.description or schedule.name)
        fault = "" if type_ in ("START", "COMPLETE") else state.message or state.name or type_
        Run(teller, job, str(flow_run.id)).tell(type_, fault=fault)

    # Prefect names a hook in its log by this.
    tell.__name__ = f"tell_{type_.lower()}"
    return tell

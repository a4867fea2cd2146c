"""A run that died gives its flow's one place back, though Prefect's server was killed meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from math import isfinite
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.dead_runs import (
    BEGINS_S_MAX,
    EVERY_S,
    LATE_S_MAX,
    LIMITS_S,
    bury,
    is_dead,
    keep_buried,
)
from flows.scheduled.alerts import ALERTS
from flows.scheduled.bars import keep_bars_hourly
from flows.scheduled.schedule import TAG
from flows.scheduled.schedules import SCHEDULES
from infra.servers import ports
from infra.servers.flow_servers import PREFECT, prefect_plan
from infra.servers.process import send, wait_until
from infra.servers.web_server import Plan, WebServer
from lake.clock import SystemClock
from tests.flows.stops import EndsAfter

CLOCK = SystemClock()
SOONER = {
    "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "30",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "1",
}
"""As short as Prefect takes it."""

BACK_S_MAX = 120.0
TRIES_MAX = 30
ALERTS_S = float(ALERTS.flow.timeout_seconds or 0)


@dataclass
class Server:
    """A home's own Prefect server, whose leases end sooner."""

    web: WebServer
    leases: Path
    plan: Callable[[int], Plan]

    @property
    def url(self) -> str:
        found = self.web.running()
        assert found is not None
        return f"http://127.0.0.1:{found.port}/api"

    def post(self, path: str, **document: Any) -> Any:
        for _ in range(TRIES_MAX):
            answer = httpx.post(f"{self.url}{path}", json=document, timeout=30)
            if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                break
            CLOCK.sleep(1)  # its database is busy: Prefect's own client asks again, too
        return answer.raise_for_status().json()

    def is_taken(self, deployment: str) -> bool:
        """Take up a new run, as a worker does; tell whether it may go on."""
        run = self.post(f"/deployments/{deployment}/create_flow_run", tags=[TAG])["id"]
        said = self.post(f"/flow_runs/{run}/set_state", state={"type": "PENDING"})
        return bool(said["status"] == "ACCEPT")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    home = tmp_path.resolve()
    (home / "log").mkdir()
    usual = prefect_plan(home)

    def plan(port: int) -> Plan:
        found = usual(port)
        return replace(found, environment={**found.environment, **SOONER})

    web = WebServer(home, CLOCK, PREFECT)
    web.up(ports.choose(None), plan)
    yield Server(web, home / "prefect" / "concurrency_leases", plan)
    web.down()


def test_a_run_that_died_with_the_server_gives_its_place_back(server: Server) -> None:
    flow = server.post("/flows/", name="some-flow")["id"]
    alone = {"concurrency_limit": 1, "concurrency_options": {"collision_strategy": "CANCEL_NEW"}}
    deployment = server.post("/deployments/", name="alone", flow_id=flow, **alone)["id"]
    assert server.is_taken(deployment)
    assert not server.is_taken(deployment)
    found = server.web.running()
    assert found is not None
    for each in server.web.group():
        send(each.pid, signal.SIGKILL)
    server.web.up(found.port, server.plan)
    assert wait_until(CLOCK, lambda: server.is_taken(deployment), BACK_S_MAX)

    for path in server.leases.glob("*"):  # as on a disk that is another one now
        path.unlink(missing_ok=True)
    assert not server.is_taken(deployment)
    now = datetime.now(UTC)
    with temporary_settings({PREFECT_API_URL: server.url}), get_client(sync_client=True) as client:
        assert bury(client, now) == []
        dead = bury(client, now + timedelta(seconds=BEGINS_S_MAX + 60))
        assert len(dead) == 2  # the first one, too, is shown at work no more
        assert bury(client, now + timedelta(days=1)) == []
        state = client.read_flow_run(dead[0].id).state
    assert state is not None
    assert state.is_crashed()
    assert "nothing was heard of it since" in str(state.message)
    assert server.is_taken(deployment)


@pytest.mark.parametrize(
    ("state", "flow", "age_s", "dead"),
    [
        (StateType.PENDING, "some-flow", BEGINS_S_MAX - 1, False),
        (StateType.PENDING, "some-flow", BEGINS_S_MAX + 1, True),
        (StateType.RUNNING, ALERTS.flow.name, ALERTS_S + LATE_S_MAX - 1, False),
        (StateType.RUNNING, ALERTS.flow.name, ALERTS_S + LATE_S_MAX + 1, True),
        (StateType.RUNNING, keep_bars_hourly.name, 3_900 + LATE_S_MAX - 1, False),
        (StateType.RUNNING, keep_bars_hourly.name, 3_900 + LATE_S_MAX + 1, True),
        (StateType.RUNNING, "some-flow", 1e6, False),  # of which no limit is known
        (StateType.SCHEDULED, ALERTS.flow.name, 1e6, False),
        (StateType.COMPLETED, ALERTS.flow.name, 1e6, False),
    ],
)
def test_a_run_is_dead_that_neither_began_nor_ended_in_time(
    state: StateType, flow: str, age_s: float, dead: bool
) -> None:
    now = datetime(2026, 11, 27, tzinfo=UTC)
    since = now - timedelta(seconds=age_s)
    run = FlowRun(flow_id=uuid4(), state=State(type=state, timestamp=since))
    assert is_dead(run, flow, now) is dead


def test_how_long_each_flow_of_a_schedule_may_be_at_work_is_known() -> None:
    """Of the pool's deployments, too: their tags are others."""
    assert {each.flow.name for each in SCHEDULES} <= LIMITS_S.keys()
    assert all(isfinite(each) for each in LIMITS_S.values())


def test_a_server_that_is_away_is_waited_for_and_a_fault_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stop = EndsAfter(2)
    there = iter([False, True])
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{ports.choose(None)}/api"}):
        keep_buried(CLOCK, stop, lambda: next(there))
    assert stop.waits == [EVERY_S, EVERY_S]
    assert capsys.readouterr().err.count("dead runs: ") == 1

"""A run that died gives its flow's one place back, though Prefect's server was killed meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.servers import ports
from infra.servers.flow_servers import PREFECT, prefect_plan
from infra.servers.process import send, wait_until
from infra.servers.web_server import Plan, WebServer
from lake.clock import SystemClock

CLOCK = SystemClock()
SOONER = {
    "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "30",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "1",
}
"""As short as Prefect takes it."""

BACK_S_MAX = 120.0


@dataclass
class Server:
    """A home's own Prefect server, whose leases end sooner."""

    web: WebServer
    plan: Callable[[int], Plan]

    def post(self, path: str, **document: Any) -> Any:
        found = self.web.running()
        assert found is not None
        url = f"http://127.0.0.1:{found.port}/api{path}"
        answer = httpx.post(url, json=document, timeout=30).raise_for_status()
        return answer.json()

    def is_taken(self, deployment: str) -> bool:
        """Take up a new run, as a worker does; tell whether it may go on."""
        run = self.post(f"/deployments/{deployment}/create_flow_run")["id"]
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
    yield Server(web, plan)
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
    assert not server.is_taken(deployment)  # nobody knows yet that it died
    assert wait_until(CLOCK, lambda: server.is_taken(deployment), BACK_S_MAX)

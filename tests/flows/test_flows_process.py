"""The flows' process is missed when it is gone, and when it stands still."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.command.main import run
from infra.command.metrics import samples
from infra.servers.flow_servers import FlowServers, beat, look_at_flows
from infra.servers.process import wait_until
from infra.watch.seen import FLOWS_SILENT_S, FlowsSeen, Seen
from infra.watch.wrong import wrong
from lake.clock import ManualClock, SystemClock
from lake.state import write_state

CLOCK = SystemClock()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Return a home of servers that others run, none of which answers, and of flows of its own."""
    home = tmp_path.resolve()
    for name in ("given", "run", "log"):
        (home / name).mkdir()
    servers = FlowServers(home, CLOCK)
    state: dict[str, Any] = {"prefect": {"url": "http://127.0.0.1:9/api"}}
    servers.begin(state)
    write_state(home, {**state, "flows": {"here": True}})
    yield home
    servers.down()


def missed(home: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    run(["status", "--home", str(home), "--json"])
    found = json.loads(capsys.readouterr().out)["wrong"]
    return [each for each in found if each["kind"] == "flows"]


def flows_up(home: Path, capsys: pytest.CaptureFixture[str]) -> float:
    assert run(["metrics", "--home", str(home)]) == 0
    return samples(capsys.readouterr().out)["ticklake_flows_up"]


def test_flows_that_were_killed_are_missed_with_the_remedy(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert missed(home, capsys) == []
    assert flows_up(home, capsys) == 1
    seen = look_at_flows(home, CLOCK)
    assert seen is not None
    assert seen.pid is not None
    os.kill(seen.pid, signal.SIGKILL)
    assert wait_until(CLOCK, lambda: FlowServers(home, CLOCK).status({})["flows"] == "down", 60)
    (found,) = missed(home, capsys)
    assert found["fault"] == "their process is gone"
    assert found["remedy"].startswith("ticklake up")
    assert flows_up(home, capsys) == 0


def test_flows_are_started_anew_where_their_server_is_another(home: Path) -> None:
    def pid() -> int | None:
        seen = look_at_flows(home, CLOCK)
        return seen.pid if seen else None

    servers, before = FlowServers(home, CLOCK), pid()
    servers.begin({"prefect": {"url": "http://127.0.0.1:9/api"}})
    assert pid() == before is not None
    servers.begin({"prefect": {"url": "http://127.0.0.1:8/api"}})
    assert pid() not in (before, None)


def test_flows_whose_watch_stands_still_are_missed(home: Path) -> None:
    late = ManualClock(CLOCK.now_us() + int((FLOWS_SILENT_S + 60) * 1e6))
    assert beat(home).parent.is_dir()
    (found,) = wrong(Seen(flows=look_at_flows(home, late)))
    assert found.kind == "flows"
    assert "has said nothing for" in found.fault
    assert "kill -CONT" in found.remedy


def test_flows_of_another_container_are_known_by_their_beat(tmp_path: Path) -> None:
    home = tmp_path.resolve()
    assert look_at_flows(home, CLOCK) is None
    beat(home).parent.mkdir()
    beat(home).touch()
    assert wrong(Seen(flows=look_at_flows(home, CLOCK))) == []
    old = CLOCK.now_us() / 1e6 - FLOWS_SILENT_S - 9
    os.utime(beat(home), (old, old))
    (found,) = wrong(Seen(flows=look_at_flows(home, CLOCK)))
    assert (found.kind, found.remedy.partition(",")[0]) == (
        "flows",
        "start them again where they run",
    )


def test_flows_that_are_well_are_not_wrong() -> None:
    assert wrong(Seen(flows=FlowsSeen(True, 7, 10.0))) == []

"""Prefect's server and the process that runs the flows: started beside the others, waited for by
nobody.

Prefect takes 10 seconds and more to get ready, and bars do not need it; `up` only sees to it that
both are on their way, and `status` says how far they are. Where the profile has a Prefect of its
own, the flows are deployed to its work pool, and a worker runs them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Any

from flows.pool import POOL_WORD
from infra.servers.config_files import CONFIG, variables
from infra.servers.ports import LOOPBACK
from infra.servers.process import memory_bytes
from infra.servers.web_server import Kind, Plan, WebServer
from infra.watch.seen import FlowsSeen
from lake.clock import Clock
from lake.state import read_state

PREFECT_PORT = 4200
"""Taken at the first start where it is free."""

PREFECT = Kind("prefect", "prefect", "/api/health", b"true", lambda: version("prefect"))
FLOWS = Kind("flows", "flows.serve", "", b"", lambda: version("ticklake"))


class FlowServers:
    """Both processes of one home (absolute path)."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._home = home
        self._prefect = WebServer(home, clock, PREFECT)
        self._flows = WebServer(home, clock, FLOWS)

    def begin(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Start what is down, at once; return the state's entry `prefect`, with its address."""
        known = state.get("prefect", {})
        if "url" not in known or known.get("own"):
            plan = prefect_plan(self._home)
            port = self._prefect.begin(int(known.get("port", PREFECT_PORT)), plan)
            known = {"url": f"http://{LOOPBACK}:{port}/api", "port": port, "own": True}
        where = () if known.get("own") else (POOL_WORD,)
        self._flows.begin(0, lambda _: self._flows_plan(known, where))
        return dict(known)

    def down(self) -> tuple[str, ...]:
        """Stop both; return those that ran."""
        servers = (("flows", self._flows), ("prefect", self._prefect))
        return tuple(name for name, server in servers if server.down())

    def forgotten(self) -> bool:
        """Remove what the flows said last, where none run; tell whether that is so."""
        if self._flows.process() is not None:
            return False
        beat(self._home).unlink(missing_ok=True)
        return True

    def status(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return what runs, and where to look at it; ui is None while Prefect is not ready."""
        url = state.get("prefect", {}).get("url")
        own = self._prefect.process()
        ready = self._prefect.running() is not None
        words = "ready" if ready else "starting" if own else "down"
        if url and not state["prefect"].get("own"):
            words = "of the profile"
        runs = self._flows.process()
        return {
            "prefect": words,
            "ui": url.removesuffix("/api")
            if url and words in ("ready", "of the profile")
            else None,
            "flows": "running" if runs else "down",
            "pid": runs.pid if runs else None,
            "memory_bytes": sum(memory_bytes(each.pid) for each in self._flows.group()),
            "log": str(self._flows.log),
        }

    def _flows_plan(self, prefect: Mapping[str, Any], where: tuple[str, ...]) -> Plan:
        environment = {
            **_quiet(),
            "PREFECT_HOME": str(self._home / "flows"),
            **client_variables(prefect),
            "TICKLAKE_HOME": str(self._home),
        }
        words = (sys.executable, "-m", "flows.serve", str(self._home), *where)
        return Plan(words, environment, trusted_files(prefect))


def client_variables(prefect: Mapping[str, Any]) -> dict[str, str]:
    """Return how Prefect's clients come into a server, from its entry in a home's state."""
    found = {"PREFECT_API_URL": str(prefect["url"])}
    if "ca" in prefect:
        found["PREFECT_API_SSL_CERT_FILE"] = str(prefect["ca"])
    if "login" in prefect:
        found["PREFECT_API_AUTH_STRING"] = str(prefect["login"])
    return found


def trusted_files(prefect: Mapping[str, Any]) -> tuple[Path, ...]:
    """Return the file of who vouches for a Prefect: its clients read it once, at their start."""
    file = Path(prefect.get("ca", ""))
    return (file,) if file.is_file() else ()


def prefect_plan(home: Path) -> Callable[[int], Plan]:
    """Return how a home's own Prefect server is started."""
    words = (sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port")

    def plan(port: int) -> Plan:
        environment = {
            **_quiet(),
            "PREFECT_HOME": str(home / "prefect"),
            "PREFECT_API_URL": f"http://{LOOPBACK}:{port}/api",
        }
        return Plan((*words, str(port)), environment)

    return plan


def look_at_flows(home: Path, clock: Clock) -> FlowsSeen | None:
    """Return how the flows' process of a home (absolute path) is; None where none is to run.

    Where `up` did not begin it, as in containers, only its beat is known, once there was one.
    """
    now_us = clock.now_us()
    try:
        silent_s = now_us / 1e6 - beat(home).stat().st_mtime
    except OSError:
        silent_s = inf
    if "flows" not in read_state(home):
        return FlowsSeen(False, None, silent_s) if silent_s < inf else None
    process = WebServer(home, clock, FLOWS).process()
    if process is None:
        return FlowsSeen(True, None, 0.0)
    return FlowsSeen(True, process.pid, min(silent_s, (now_us - process.since_us) / 1e6))


def beat(home: Path) -> Path:
    """Return the file that flows.watch touches at each turn of its loop."""
    return home / "run" / "watched"


def flow_line(status: Mapping[str, Any]) -> str:
    """Return the status in a line."""
    where = f"  {status['ui']}" if status["ui"] else ""
    return f"flows       {status['flows']}, Prefect {status['prefect']}{where}  log {status['log']}"


def _quiet() -> dict[str, str]:
    """Return what the stack's server is told, too; and nothing is logged but what is wrong."""
    return {**variables(CONFIG / "prefect.env"), "PREFECT_LOGGING_LEVEL": "WARNING"}

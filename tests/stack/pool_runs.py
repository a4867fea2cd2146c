"""Runs of the stack's work pool, asked for and waited for by Prefect's own API."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from infra.servers.process import wait_until
from lake.clock import SystemClock

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
RUN_S_MAX = 600
ANSWER_S_MAX = 120


def get(url: str) -> Any:
    """Return what a server answers."""
    with urllib.request.urlopen(url, timeout=ANSWER_S_MAX) as answer:
        return json.loads(answer.read())


def post(url: str, document: object) -> Any:
    """Return what a server answers to a document."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(document).encode(), headers)
    with urllib.request.urlopen(request, timeout=ANSWER_S_MAX) as answer:
        return json.loads(answer.read())


def run_of(url: str, deployment: str) -> dict[str, Any]:
    """Have the worker run a deployment (flow/name) with its own parameters; return the ended run.

    Where one of the schedule is at work, ours is cancelled, and asked for again.
    """
    found = get(f"{url}/deployments/name/{deployment}")
    run: dict[str, Any] = {}

    def is_done() -> bool:
        asked = post(f"{url}/deployments/{found['id']}/create_flow_run", {})
        run.update(ended(url, asked["id"]))
        return bool(run["state_type"] != "CANCELLED")

    wait_until(SystemClock(), is_done, RUN_S_MAX)
    return run


def ended(url: str, run: str) -> dict[str, Any]:
    """Wait for the end of a run; return it."""

    def now() -> dict[str, Any]:
        found: dict[str, Any] = get(f"{url}/flow_runs/{run}")
        return found

    assert wait_until(SystemClock(), lambda: now()["state_type"] in ENDED, RUN_S_MAX)
    return now()

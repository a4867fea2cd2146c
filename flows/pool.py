"""The work pool: its name, and how the flows of prefect.yaml get there."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

POOL = "ticklake"
POOL_WORD = "pool"
POOL_PREFIX = "pool-"
FILE = Path(__file__).with_name("prefect.yaml")

DEPLOY_S_MAX = 120.0
RETRY_S = 10.0
FAULT_CHARS_MAX = 200


def deploy(stop: threading.Event, paused: Collection[str]) -> None:
    """Deploy every flow of prefect.yaml, again and again until it is done or stopped.

    paused: names of schedules that the home has no need of; they are there, and do not run. The
    same file gives the same deployments. Why it failed is said on standard error.
    """
    create = ("work-pool", "create", POOL, "--type", "process")
    with TemporaryDirectory() as folder:
        file = Path(folder, FILE.name)
        file.write_text(with_pauses(FILE.read_text(), paused))
        while not stop.is_set():
            _prefect(*create)  # fails where it is there
            fault = _prefect("deploy", "--all", "--prefect-file", str(file))
            if fault is None:
                return
            print(f"pool {POOL}: not deployed: {fault}", file=sys.stderr, flush=True)
            stop.wait(RETRY_S)


def with_pauses(text: str, paused: Collection[str]) -> str:
    """Return a file as prefect.yaml in which each deployment says whether it is paused.

    All say so: one that says nothing would stay paused once its home has need of it.
    """
    document = yaml.safe_load(text)
    for each in document["deployments"]:
        each["paused"] = each["name"].removeprefix(POOL_PREFIX) in paused
    return yaml.safe_dump(document, sort_keys=False)


def _prefect(*words: str) -> str | None:
    """Run Prefect's own command; return why it failed, the end of what it said."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *words],
            cwd=FILE.parent.parent,  # entrypoints are modules from there
            capture_output=True,
            text=True,
            check=False,
            timeout=DEPLOY_S_MAX,
        )
    except subprocess.TimeoutExpired:
        return f"took more than {DEPLOY_S_MAX:g} s"
    if done.returncode == 0:
        return None
    return " ".join((done.stderr or done.stdout).split())[-FAULT_CHARS_MAX:]

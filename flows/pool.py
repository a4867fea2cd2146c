"""The work pool: its name, and how the flows of prefect.yaml get there."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

POOL = "ticklake"
POOL_WORD = "pool"
FILE = Path(__file__).with_name("prefect.yaml")

DEPLOY_S_MAX = 120.0
RETRY_S = 10.0


def deploy(stop: threading.Event) -> None:
    """Deploy every flow of prefect.yaml, again and again until it is done or stopped.

    The same file gives the same deployments. What Prefect says when it fails goes to stderr.
    """
    words = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    while not stop.is_set():
        try:
            done = subprocess.run(
                [*words, "--prefect-file", str(FILE)],
                cwd=FILE.parent.parent,  # entrypoints are modules from there
                capture_output=True,
                text=True,
                check=False,
                timeout=DEPLOY_S_MAX,
            )
            if done.returncode == 0:
                return
            fault = (done.stderr or done.stdout).strip()
        except subprocess.TimeoutExpired:
            fault = f"took more than {DEPLOY_S_MAX:g} s"
        print(f"pool {POOL}: not deployed: {fault}", file=sys.stderr, flush=True)
        stop.wait(RETRY_S)

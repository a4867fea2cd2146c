"""A session as a process, until it is ended: it says what becomes of its turn.

python -m tests.session.asleep_process FOLDER SHARD DSN REDIS SILENT_MS
"""

from __future__ import annotations

import sys
from pathlib import Path

from lake.clock import ManualClock, SystemClock
from lake.errors import TicklakeError
from serving.risk.kill_switch import KillSwitch
from serving.session.models import NoModels
from serving.session.parts import Parts
from serving.session.turns import run_session
from serving.streams.connect import connected
from tests.session.market import CODE, NOON_US, PLAN


def main() -> None:
    """Run sessions until killed."""
    folder, shard, dsn, url, silent_ms = sys.argv[1:]
    clock, home = ManualClock(NOON_US), Path(folder)
    kill = KillSwitch(home / "run" / "killed.json", None, clock)
    names = home, int(shard), PLAN, dsn, connected(url, wait_s=60.0), kill, clock, NoModels()
    parts = Parts(*names, CODE, silent_ms=int(silent_ms))

    def stops() -> bool:
        print("goes on", flush=True)
        return False

    while True:
        try:
            run_session(parts, None, stops)
        except TicklakeError as error:
            print(f"lost: {error}", flush=True)
            SystemClock().sleep(0.05)


if __name__ == "__main__":
    main()

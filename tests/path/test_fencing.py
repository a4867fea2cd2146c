"""Design 3.3, 3.4: a stale owner that wakes up can do no harm; a foreign rollback is healed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from infra.servers.embedded import down, up
from infra.servers.process import wait_until
from lake.clock import SystemClock
from lake.hot.lease import LEASE_SECONDS
from lake.tables.catalog import open_catalog
from tests.path.lakehouse import Lakehouse, stream

STOPPED_S_MAX = 120


@pytest.fixture
def lakehouse(migrated_dsn: str, tmp_path: Path) -> Lakehouse:
    return Lakehouse(migrated_dsn, tmp_path)


def is_stopped(process: subprocess.Popen[str]) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


@pytest.mark.parametrize("step", ["hot.copy", "lake.pointer"])
def test_a_zombie_that_wakes_after_its_successor_is_fenced(lakehouse: Lakehouse, step: str) -> None:
    lakehouse.journal(stream(0, 10))
    zombie = lakehouse.start(f"{step}=stop@1")
    assert wait_until(SystemClock(), lambda: is_stopped(zombie), STOPPED_S_MAX)
    lakehouse.journal(stream(10, 10), up=False)
    time.sleep(LEASE_SECONDS + 1)  # its heartbeat must be old before a successor may try
    assert lakehouse.move() == 0
    os.kill(zombie.pid, signal.SIGCONT)
    assert lakehouse.drain(zombie) == 1
    lakehouse.assert_whole()


def test_a_rollback_by_others_is_noticed_and_healed(lakehouse: Lakehouse) -> None:
    lakehouse.journal(stream(0, 10))
    assert lakehouse.move() == 0
    with closing(open_catalog(lakehouse.dsn, str(lakehouse.folder / "warehouse"))) as catalog:
        first = catalog.load_table("market.crypto_trades").current_snapshot()
        lakehouse.journal(stream(10, 10), up=False)
        assert lakehouse.move() == 0
        table = catalog.load_table("market.crypto_trades")
        table.manage_snapshots().rollback_to_snapshot(first.snapshot_id).commit()
    lakehouse.journal(stream(20, 10), up=False)
    assert lakehouse.move() == 0
    lakehouse.assert_whole()


def test_a_server_killed_while_frames_come_is_waited_for(tmp_path: Path) -> None:
    home = tmp_path / "home"
    lakehouse = Lakehouse(up(home).state["postgres"]["dsn"], tmp_path)
    try:
        lakehouse.journal(stream(0, 50))
        mover = lakehouse.start()
        state = up(home).state["postgres"]
        first = next(line for line in mover.stdout if '"hot_frame": 51' in line)  # type: ignore[union-attr]
        assert "hot_faults" in first
        os.kill(state["pid"], signal.SIGKILL)
        lakehouse.journal(stream(50, 50), up=False)
        time.sleep(1)
        again = up(home).state["postgres"]
        assert again["dsn"] == lakehouse.dsn
        assert lakehouse.drain(mover) == 0
        lakehouse.assert_whole()
    finally:
        down(home)

"""Issue 7, faults: who has a session's turn and is stopped loses it; awake, it does no harm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from redis import Redis

from lake.clock import SystemClock
from serving.streams.connect import connected
from tests.session.market import market
from tests.session.world import World

SILENT_MS = 3_000
ROOT = Path(__file__).resolve().parents[2]
REAL = SystemClock()


def heard(process: subprocess.Popen[str], word: str) -> str:
    """Return the next line of a process that begins so."""
    assert process.stdout is not None
    return next(line for line in process.stdout if line.startswith(word))


def test_a_stopped_process_loses_the_turn_and_writes_nothing_once_it_goes_on(
    tmp_path: Path, migrated_dsn: str, valkey_url: str
) -> None:
    client: Redis = connected(valkey_url, wait_s=60.0)
    found = market(1, 300, step_us=200_000)
    world = World(tmp_path, migrated_dsn, client, found, silent_ms=SILENT_MS)
    words = (str(tmp_path), str(world.shard), migrated_dsn, valkey_url, str(SILENT_MS))
    sleeper = subprocess.Popen(
        (sys.executable, "-m", "tests.session.asleep_process", *words),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        heard(sleeper, "goes on")
        world.send(40)
        world.ingest.sync()
        os.kill(sleeper.pid, signal.SIGSTOP)
        refused, since_us = 0, REAL.monotonic_us()
        while world.live is None and REAL.monotonic_us() - since_us < 90_000_000:
            world.turn()
            refused += world.live is None
            REAL.sleep(0.02)
        assert world.live is not None
        assert world.met["another process leads"] == refused > 0
        while world.at < 200:
            world.send(20)
            world.ingest.sync()
            world.turn()
        os.kill(sleeper.pid, signal.SIGCONT)
        heard(sleeper, "lost")
        heard(sleeper, "lost: account buy-and-hold on shard")  # another leads
        sleeper.kill()
        world.finish()
        assert world.check() > 0
        assert len(world.sessions()) == 1
    finally:
        sleeper.kill()
        sleeper.wait()
        assert sleeper.stdout is not None
        sleeper.stdout.close()
        world.close()
        client.close()

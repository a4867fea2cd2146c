"""What the demonstration starts, and stops again whatever happens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.servers import embedded
from infra.servers.process import wait_until
from lake.clock import Clock
from lake.errors import Unavailable

EXCHANGE_S_MAX = 20.0
END_S_MAX = 10.0
REPLAY = Path("binance_frames") / "usdm_btcusdt_20230404.dat.gz"


@contextmanager
def servers(home: Path, clock: Clock, *, keep: bool) -> Iterator[embedded.Report]:
    """Start the servers; stop them at the end unless they are to be kept."""
    report = embedded.up(home, clock)
    try:
        yield report
    finally:
        if not keep:
            embedded.down(home, clock)


@contextmanager
def exchange(home: Path, rate: int, clock: Clock) -> Iterator[str]:
    """Run a simulated exchange as a process of its own; yield its address."""
    words = ["--port", "0", "--rate", str(rate), "--tickers", "10", "--skew", "0.4"]
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.command.main", "sim", "--home", str(home), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    place = home / "run" / "sim.json"
    try:
        if not wait_until(clock, lambda: _pid_of(place) == process.pid, EXCHANGE_S_MAX):
            raise Unavailable("simulated exchange", "did not start", "try `ticklake sim`")
        yield str(json.loads(place.read_text())["url"])
    finally:
        process.terminate()
        try:
            process.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _pid_of(place: Path) -> int:
    try:
        return int(json.loads(place.read_text())["pid"])
    except (FileNotFoundError, ValueError):
        return 0


def replay_of(data: Path | None) -> str | None:
    """Return the recording to replay beside the simulated exchange, if it is there."""
    path = data / REPLAY if data is not None else None
    return f"replay:{path}" if path is not None and path.is_file() else None

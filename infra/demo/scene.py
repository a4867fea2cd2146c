"""What the demonstration starts, and ends again whatever happens."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType

from infra.servers.process import tail, wait_until
from infra.servers.profile import Profile
from lake.clock import Clock
from lake.errors import Unavailable

EXCHANGE_S_MAX = 60.0
END_S_MAX = 10.0
OUTLIVES_S = 120.0
"""The exchange ends by itself so long after its time, should we be killed before we can end it."""

TICKERS = 10
BTC_SHARE = 0.4
FAULTS = ("--duplicates", "0.002", "--poison", "0.001", "--cut-every", "8s")
"""Chances per frame, and the mean time until a connection is cut."""

REPLAY = Path("binance_frames") / "usdm_btcusdt_20230404.dat.gz"
STOPS = (signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], None] | signal.Handlers


def stops_interrupt() -> AbstractContextManager[None]:
    """Let what else would end us end like Ctrl-C, so that nothing is left running."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    return _handled(STOPS, interrupt)


def undisturbed() -> AbstractContextManager[None]:
    """Let no signal break off the end; what it waits for is bounded."""
    return _handled((signal.SIGINT, *STOPS), signal.SIG_IGN)


@contextmanager
def _handled(numbers: Sequence[signal.Signals], handler: Handler) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def servers(profile: Profile, home: Path, clock: Clock, *, keep: bool) -> Iterator[str]:
    """Start a home's servers, yield PostgreSQL's libpq URI; stop them unless they ran before."""
    keep = keep or any(each["running"] for each in profile.status(home, clock).values())
    try:
        yield profile.up(home, clock).state["postgres"]["dsn"]
    finally:
        if not keep:
            with undisturbed():
                profile.down(home, clock)


@contextmanager
def exchange(home: Path, rate: int, seconds: float, clock: Clock) -> Iterator[str]:
    """Run a simulated exchange as a process of its own; yield its address."""
    words = ["--port", "0", "--rate", rate, "--tickers", TICKERS, "--skew", BTC_SHARE]
    words += FAULTS
    words += ["--for", f"{seconds + OUTLIVES_S:.1f}", "--home", home]
    log = home / "log" / "sim.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.command.main", "sim", *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for us, who then end it
        )
    try:
        yield _url(home / "run" / "sim.json", process, log, clock)
    finally:
        with undisturbed():
            _end(process)


def _url(place: Path, process: subprocess.Popen[bytes], log: Path, clock: Clock) -> str:
    def settled() -> bool:
        return process.poll() is not None or _announced(place).get("pid") == process.pid

    if not wait_until(clock, settled, EXCHANGE_S_MAX) or process.poll() is not None:
        raise Unavailable("simulated exchange", "did not start", tail(log) or "try `ticklake sim`")
    return str(_announced(place)["url"])


def _announced(place: Path) -> dict[str, object]:
    try:
        return dict(json.loads(place.read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def recording_in(data: Path | None) -> Path | None:
    """Return the recording to replay beside the simulated exchange, if it is there."""
    path = data / REPLAY if data is not None else None
    return path if path is not None and path.is_file() else None

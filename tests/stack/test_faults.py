"""Each server of the stack is stopped, and killed, while ticks come: it shows, and nothing is lost.

Short: benchmarks/outage.py does it for 30 s each at 20,000 events/s, and measures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import psycopg
import pytest

from infra.command.metrics import samples
from infra.servers.ports import choose
from infra.servers.process import wait_until
from infra.servers.report import in_state
from lake.clock import SystemClock
from lake.state import postgres_dsn
from lake.verify.verify import verify
from tests.stack.own_home import ROOT, STOPPED, own_home, pids, send, status, up

CLOCK = SystemClock()
SHOWN_S_MAX = 90.0
"""What is promised is 5 s (benchmarks/outage.py measures it); a test machine may be busy."""

WELL_S_MAX = 300.0
AWAY_S = 2.0
EVENTS = 60_000
RATE = 1_000


@dataclass
class Place:
    """A stack, and a home of ours on it with exchange, ingest and exporter at work."""

    stack: Path
    home: Path
    ingest: subprocess.Popen[str]
    metrics_url: str
    exchange_url: str

    def shows(self, server: str, up: int) -> bool:
        """Tell whether the exporter says by and by that a server is up (1) or not (0)."""
        name = f'ticklake_server_up{{server="{in_state(server)}"}}'
        return wait_until(CLOCK, lambda: self.samples().get(name) == up, SHOWN_S_MAX)

    def samples(self) -> dict[str, float]:
        with urlopen(self.metrics_url, timeout=60) as answer:
            return samples(answer.read().decode())

    def says(self, server: str) -> bool:
        """Tell whether `ticklake status` names a server, with a remedy, and ends with 1."""

        def named() -> bool:
            said = status(self.home)
            thing = in_state(server)
            found = [w for w in said["wrong"] if (w["kind"], w["thing"]) == ("server", thing)]
            return said["rc"] == 1 and any(each["remedy"] for each in found)

        return wait_until(CLOCK, named, SHOWN_S_MAX)

    def is_well(self) -> bool:
        """Tell whether all is well by and by; a machine that is too slow for the rate may lag."""

        def well() -> bool:
            return {each["kind"] for each in status(self.home)["wrong"]} <= {"lag", "feed"}

        return wait_until(CLOCK, well, WELL_S_MAX)

    def sent(self) -> int:
        with urlopen(self.exchange_url, timeout=60) as answer:
            return int(json.load(answer)["events_sent"])


def start(stack: ExitStack, *words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.command.main", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TICKLAKE_STREAMS": "live"},  # so that Redis gets every frame, too
    )
    stack.callback(end, process)
    return process


def end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.communicate(timeout=180)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


@contextmanager
def at_work(stack: Path, folder: Path) -> Iterator[Place]:
    with ExitStack() as exits:
        name = f"faults_{os.getpid()}"
        home = exits.enter_context(own_home(stack, folder, name))
        words = ("--home", str(home))
        port = choose(None)
        start(exits, "metrics", "--serve", "--port", str(port), *words)
        sim = ["--rate", str(RATE), "--events", str(EVENTS), "--start-when-subscribed"]
        start(exits, "sim", *sim, "--port", "0", "--for", "3h", *words)
        listening = home / "run" / "sim.json"
        assert wait_until(CLOCK, listening.exists, WELL_S_MAX)
        url = json.loads(listening.read_text())["url"].replace("ws://", "http://")
        ingest = start(exits, "ingest", "sim", *words)
        place = Place(
            stack,
            home,
            ingest,
            f"http://127.0.0.1:{port}/metrics",
            url.replace("/crypto", "/v1/status"),
        )
        assert wait_until(CLOCK, lambda: place.sent() > RATE, WELL_S_MAX)
        yield place


@pytest.fixture(scope="module")
def place(stack: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Yield the place; each test leaves it well."""
    with at_work(stack, tmp_path_factory.mktemp("faults").resolve() / "home") as place:
        yield place


@pytest.mark.parametrize("server", STOPPED)
def test_a_server_that_hangs_shows_and_is_over_when_it_goes_on(place: Place, server: str) -> None:
    found = pids(place.stack, server)
    send(found, signal.SIGSTOP)
    try:
        assert place.says(server)
        assert place.shows(server, 0)
        CLOCK.sleep(AWAY_S)
    finally:
        send(found[::-1], signal.SIGCONT)
    assert place.shows(server, 1)
    assert place.is_well()


@pytest.mark.parametrize("server", STOPPED)
def test_a_server_that_is_killed_shows_and_is_over_when_it_is_started(
    place: Place, server: str
) -> None:
    send(pids(place.stack, server), signal.SIGKILL)
    try:
        assert place.says(server)
        assert place.shows(server, 0)
    finally:
        up(place.stack)
    assert place.shows(server, 1)
    assert place.is_well()


def test_after_all_of_it_nothing_is_lost_or_doubled(place: Place) -> None:
    assert wait_until(CLOCK, lambda: place.sent() >= EVENTS, WELL_S_MAX)
    CLOCK.sleep(AWAY_S)
    place.ingest.send_signal(signal.SIGTERM)
    _, errors = place.ingest.communicate(timeout=WELL_S_MAX)
    assert place.ingest.returncode == 0, errors
    report = verify(place.home, full=True)
    assert str(report).endswith(" 0 lost, 0 duplicated")
    with psycopg.connect(postgres_dsn(place.home)) as connection:
        stored = connection.execute(
            "SELECT sum(rows)::bigint FROM market.ledger_minutes"
            " WHERE dataset IN ('crypto_trades', 'crypto_quotes')"
        ).fetchone()
    assert stored == (EVENTS,)

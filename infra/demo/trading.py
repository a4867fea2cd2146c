"""The live half of the demonstration: a strategy that trades on paper beside the ingest."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from feature_repo.ledger.anchor import make_anchor
from feature_repo.ledger.look import newest_orders
from feature_repo.ledger.places import ledger_key, second_place
from feature_repo.ledger.projection import project
from feature_repo.ledger.verify import verify
from infra.demo.scene import undisturbed
from infra.servers.process import tail, wait_until
from lake.audit.signing import signer_at
from lake.clock import Clock, utc_from_us
from lake.errors import Unavailable
from lake.settings import Settings
from serving.live.report import BESIDE_SERVICE, processes_of

STRATEGY = "buy-and-hold:size=0.01"
START_S_MAX, END_S_MAX = 90.0, 40.0
ORDERS_SHOWN = 5
SAID = re.compile(r"live at (http\S+);")


@contextmanager
def trading(home: Path, clock: Clock) -> Iterator[str]:
    """Run `ticklake live` with a strategy as a process of its own; yield where its page is."""
    words = ("live", "--port", "0", "--home", str(home), "--strategy", STRATEGY)
    log = home / "log" / "demo-live.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.command.main", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for us, who then end it
        )
    try:
        yield _url(home, process, log, clock)
    finally:
        with undisturbed():
            _end(process)


def _url(home: Path, process: subprocess.Popen[bytes], log: Path, clock: Clock) -> str:
    """Return where the page is, once the processes beside the service speak, too."""

    def ready() -> re.Match[str] | None:
        up = processes_of(home, clock)
        speak = all(up.get(name) for name in BESIDE_SERVICE)
        return SAID.search(log.read_text(errors="replace")) if speak else None

    wait_until(clock, lambda: process.poll() is not None or ready() is not None, START_S_MAX)
    found = ready()
    if process.poll() is not None or found is None:
        raise Unavailable("live half", "did not start", tail(log) or "try `ticklake live`")
    return found[1]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(END_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True, slots=True)
class Traded:
    """Orders, the newest first; events of the ledger, and what is wrong with them."""

    orders: list[dict[str, str]]
    events: int
    faults: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return it as a document."""
        return {"orders": len(self.orders), "events": self.events, "faults": self.faults}


def traded(settings: Settings, dsn: str, clock: Clock, since_us: int, limit: int) -> Traded:
    """Return what was traded since a time, at most so many orders of it; the ledger's end is
    anchored, then all of it verified.
    """
    project(dsn, clock)
    signer, place = signer_at(ledger_key(settings)), second_place(settings, clock)
    make_anchor(dsn, place, signer, clock)
    found = verify(dsn, place, signer.public)
    with psycopg.connect(dsn) as connection:
        newest = newest_orders(connection, "", limit)
    since = utc_from_us(since_us)
    orders = [each for each in newest if datetime.fromisoformat(each["updated_time"]) >= since]
    return Traded(orders, found.events, list(found.faults))

"""Ingest over three shards while both engines query, files are merged by two hands, and days leave.

The promise: every query sees, per shard, exactly the rows that the ledger counts up to the newest
frame it sees, and the next query sees no fewer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from lake.client import connect
from lake.clock import SystemClock
from lake.contracts.contract import load
from lake.errors import Unavailable
from lake.ingest.hot_to_dropped import drop_due
from lake.state import postgres_dsn
from lake.tables.catalog import open_catalog
from lake.tables.trino_upkeep import SMALL_BYTES
from lake.tables.upkeep import Upkeep
from lake.trino_session import UPKEEP_CATALOG, LostRace, connect_trino
from lake.warehouse import warehouse_of
from tests.stack.watched import Watched

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "import sys; from infra.command.main import run; sys.exit(run(sys.argv[1:]))"
SHARES = 3
TICKERS = 6
DAY_US = 86_400_000_000
OLD_DAYS = (40, 30, 20)
"""Days ago, whose events are there before and leave hot meanwhile."""

OLD_S, OLD_RATE = 4, 2_000
START_S = 20.0
"""Time that ingests take to start, at most: the newest rows are those of before until then."""

REST_S = 2.0
MERGES_MAX = 30
"""Rounds of merging by Trino in a run, as each takes a core for seconds."""

START_S_MAX = 180.0
MERGED = ("crypto_trades", "crypto_quotes", "ingest_batches")


class Soak:
    """One run on the stack of a home."""

    def __init__(
        self,
        home: Path,
        *,
        rate: int,
        seconds: float,
        pause_s: float = 0.0,
        window_s: float | None = None,
    ) -> None:
        """pause_s: between two queries of an engine; window_s: how far back most of them read."""
        self._home, self._rate, self._seconds = home, rate, seconds
        self._pause_s = pause_s
        self._rest_s = max(REST_S, seconds / MERGES_MAX)
        self._dsn = postgres_dsn(home)
        self._over = threading.Event()
        self.duckdb, self.trino = Watched(window_s), Watched(window_s)
        self.done: dict[str, int] = {
            "trino_merges": 0,
            "lost_races": 0,
            "merges": 0,
            "days_left": 0,
        }
        self.faults: list[str] = []

    def run(self) -> dict[str, Any]:
        """Preload, soak, drain; return the figures."""
        now_us = SystemClock().now_us()
        for age in OLD_DAYS:
            words = ("--rate", str(OLD_RATE), "--base-us", str(now_us - age * DAY_US))
            with self._exchange(*words):
                self._await([self._ingest(0, OLD_S, "0/1")])
        loops = (self._ask_duckdb, self._ask_trino, self._merge_by_trino, self._merge, self._leave)
        threads = [threading.Thread(target=self._guard, args=(loop,)) for loop in loops]
        skew = str(round(1 / TICKERS, 3))
        with self._exchange("--rate", str(self._rate), "--skew", skew):
            ingests = [self._ingest(k, self._seconds, f"{k}/{SHARES}") for k in range(SHARES - 1)]
            for watched in (self.duckdb, self.trino):
                watched.fresh_from_s = time.monotonic() + min(START_S, self._seconds / 4)
                watched.fresh_until_s = time.monotonic() + self._seconds
            for thread in threads:
                thread.start()
            time.sleep(self._seconds / 3)
            late = SHARES - 1
            ingests.append(self._ingest(late, self._seconds * 2 / 3, f"{late}/{SHARES}"))
            self._await(ingests)
        end = time.monotonic() + START_S_MAX
        while not (self.done["trino_merges"] and self.done["days_left"]) and not self.faults:
            if time.monotonic() > end:
                break
            time.sleep(0.1)  # a busy machine has not come to either yet
        self._over.set()
        for thread in threads:
            thread.join()
        return {
            "rate": self._rate,
            "seconds": self._seconds,
            "pause_s": self._pause_s,
            "window_s": self.duckdb.window_s,
            "duckdb": self.duckdb.figures(),
            "trino": self.trino.figures(),
            **self.done,
            "faults": self.faults,
        }

    def _exchange(self, *words: str) -> Exchange:
        return Exchange(self._home, "--tickers", str(TICKERS), *words)

    def _ingest(self, number: int, seconds: float, share: str) -> subprocess.Popen[bytes]:
        tickers = "BTC-USD,ETH-USD,SIM003-USD,SIM004-USD,SIM005-USD,SIM006-USD"
        words = ["ingest", "sim", "--for", f"{seconds:.0f}s", "--tickers", tickers]
        return command(self._home, *words, "--share", share)

    def _await(self, ingests: list[subprocess.Popen[bytes]]) -> None:
        for process in ingests:
            _, said = process.communicate(timeout=self._seconds * 3 + 300)
            if process.returncode:
                self.faults.append(said.decode().strip().splitlines()[-1])

    def _guard(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except Exception as error:
            self.faults.append(f"{loop.__name__}: {type(error).__name__}: {error}")

    def _ask_duckdb(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as pg, connect(self._home) as client:
            while not self._over.wait(self._pause_s):
                self.duckdb.ask(client.arrow, pg)
            self.duckdb.ask(client.arrow, pg, whole=True)

    def _ask_trino(self) -> None:
        with (
            psycopg.connect(self._dsn, autocommit=True) as pg,
            connect_trino(self._home) as session,
        ):
            while not self._over.wait(self._pause_s):
                self.trino.ask(session.arrow, pg)
            self.trino.ask(session.arrow, pg, whole=True)

    def _merge_by_trino(self) -> None:
        with connect_trino(self._home) as session:
            while not self._over.wait(self._rest_s):
                for dataset in MERGED:
                    try:
                        session.execute(
                            f"ALTER TABLE {UPKEEP_CATALOG}.market.{dataset}"
                            f" EXECUTE optimize(file_size_threshold => '{SMALL_BYTES}B')"
                        )
                        self.done["trino_merges"] += 1
                    except LostRace:
                        self.done["lost_races"] += 1

    def _merge(self) -> None:
        with closing(open_catalog(self._dsn, warehouse_of(self._home))) as catalog:
            while not self._over.wait(REST_S):
                for dataset in MERGED:
                    upkeep = Upkeep(
                        catalog,
                        dataset,
                        load(dataset).sort,
                        epoch=0,
                        commit_lock=threading.Lock(),
                    )
                    try:
                        self.done["merges"] += upkeep.merge() is not None
                    except Unavailable:
                        self.done["lost_races"] += 1

    def _leave(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as pg, connect(self._home) as client:
            while not self._over.wait(self._seconds / 8):
                left = drop_due(pg, client, SystemClock(), grace_s=0)
                self.done["days_left"] += sum(each.dropped for each in left)


class Exchange:
    """The simulated exchange as a process, from `with` to its end."""

    def __init__(self, home: Path, *words: str) -> None:
        self._said = home / "run" / "sim.json"
        self._said.unlink(missing_ok=True)
        self._process = command(home, "sim", "--port", "0", *words)

    def __enter__(self) -> None:
        end = time.monotonic() + START_S_MAX
        while time.monotonic() < end:
            if self._said.exists() and json.loads(self._said.read_text() or "{}").get("url"):
                return
            time.sleep(0.05)
        raise Unavailable("exchange", "did not start", "see its words")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()


def command(home: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start a verb on a home."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words, "--home", str(home)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )

"""The whole path under load: simulated exchange, real socket, journal, hot tier, lake, verify.

    python benchmarks/throughput.py [--rate 100000] [--seconds 60] [--burst 300000@20+5] [--json]

Latency is exact, not sampled: PostgreSQL's commit timestamp of each row's transaction less its
received_time (a row is in the union view from its commit on). For the lake, the tables' `through`
is read five times a second. Beside them: CPU per event of every process, memory of the ingest, and
what `verify` says at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

import psycopg

from infra.servers.embedded import down, up
from lake.verify.verify import verify

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "import sys; from infra.command.main import run; sys.exit(run(sys.argv[1:]))"
TICK = os.sysconf("SC_CLK_TCK")
LAKE_SAMPLE_S = 0.2
MEMORY_SAMPLE_S = 1.0
TICKLAKE_CONF = "track_commit_timestamp = on\n"


def ticklake(home: Path, *words: str) -> subprocess.Popen[str]:
    """Start a verb."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words, "--home", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process so far; 0 once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    except FileNotFoundError:
        return 0.0
    return 0.0


def children(pid: int) -> list[int]:
    """Return the child processes of a process."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(each) for each in path.read_text().split()] if path.exists() else []


class Watch:
    """Runs loops in threads of their own until it is left; they end when `stopped` is set."""

    def __init__(self, *loops: Callable[[], None]) -> None:
        self.stopped = threading.Event()
        self._threads = [threading.Thread(target=each) for each in loops]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *rest: object) -> None:
        self.stopped.set()
        for thread in self._threads:
            thread.join()


class Sampler(Watch):
    """Samples memory, CPU and the lake's mark while the ingest runs."""

    def __init__(self, dsn: str, ingest: int, exchange: int, postmaster: int) -> None:
        super().__init__(self._processes, self._lake)
        self._dsn = dsn
        self._pids = {"reader": ingest, "exchange": exchange}
        self._postmaster = postmaster
        self.rss: list[float] = []
        self.through: list[tuple[float, int]] = []
        self.cpu: dict[str, float] = {}
        self._postgres: dict[int, float] = {}

    def __exit__(self, *rest: object) -> None:
        super().__exit__(*rest)
        self.cpu["postgres"] = sum(self._postgres.values())

    def _processes(self) -> None:
        while not self.stopped.wait(MEMORY_SAMPLE_S):
            found = children(self._pids["reader"])
            if found:
                self._pids["mover"] = found[0]
            for name, pid in self._pids.items():
                self.cpu[name] = max(self.cpu.get(name, 0.0), cpu_s(pid))
            for pid in [self._postmaster, *children(self._postmaster)]:
                self._postgres[pid] = max(self._postgres.get(pid, 0.0), cpu_s(pid))
            own = [self._pids["reader"], self._pids.get("mover", 0)]
            self.rss.append(sum(rss_mib(pid) for pid in own))

    def _lake(self) -> None:
        query = (
            "SELECT metadata_location FROM public.iceberg_tables WHERE table_name = 'crypto_trades'"
        )
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self.stopped.wait(LAKE_SAMPLE_S):
                row = connection.execute(query).fetchone()
                if row is None:
                    continue
                try:
                    document = json.loads(Path(row[0].removeprefix("file://")).read_text())
                except FileNotFoundError:
                    continue  # replaced meanwhile: the next sample sees the newer one
                held = int(document["properties"].get("ticklake.through.0", 0))
                self.through.append((time.time(), held))


LATENCY = """
SELECT percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM
    pg_xact_commit_timestamp(xmin) - received_time)), count(*)
FROM market.crypto_trades TABLESAMPLE SYSTEM (%s)
"""
BY_SECOND = """
SELECT extract(epoch FROM date_trunc('second', received_time))::bigint,
    max(extract(epoch FROM pg_xact_commit_timestamp(xmin) - received_time))::float8, count(*)
FROM market.crypto_trades TABLESAMPLE SYSTEM (%s) GROUP BY 1 ORDER BY 1
"""


def latencies(dsn: str, through: list[tuple[float, int]]) -> dict[str, Any]:
    """Return seconds from receipt to the union view, and to the lake."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        rows = connection.execute("SELECT sum(rows) FROM market.ledger_minutes").fetchone()
        assert rows is not None
        share = min(100.0, 100.0 * 1_000_000 / max(1, int(rows[0])))
        found = connection.execute(LATENCY, (share,)).fetchone()  # type: ignore[arg-type]
        seconds = connection.execute(BY_SECOND, (share,)).fetchall()  # type: ignore[arg-type]
        batches = connection.execute(
            "SELECT last_frame, extract(epoch FROM committed_time)::float8"
            " FROM market.ingest_batches WHERE stored > 0 ORDER BY last_frame"
        ).fetchall()
    assert found is not None
    p50, p99, worst = (round(float(value) * 1000) for value in found[0])
    lake = sorted(
        next((at for at, held in through if held >= frame), time.time()) - committed
        for frame, committed in batches
    )
    lake_p99 = lake[int(len(lake) * 0.99)] if lake else 0.0
    return {
        "visible_ms_p50": p50,
        "visible_ms_p99": p99,
        "visible_ms_max": worst,
        "in_lake_ms_p99": round((lake_p99 + p50 / 1000) * 1000),
        "rows_sampled": int(found[1]),
        "behind_s_by_second": [round(float(s[1]), 2) for s in seconds],
    }


def measure(options: argparse.Namespace, home: Path) -> dict[str, Any]:
    """Run the path; return the figures."""
    up(home)
    down(home)
    (home / "pg" / "ticklake.conf").write_text(TICKLAKE_CONF)
    state = up(home).state["postgres"]
    words = ["--rate", str(options.rate), "--tickers", "100", "--seed", "7", "--port", "0"]
    words += ["--start-when-subscribed"]
    if options.burst:
        words += ["--burst", options.burst]
    exchange = ticklake(home, "sim", *words)
    while not (home / "run" / "sim.json").exists():
        time.sleep(0.05)
    url = json.loads((home / "run" / "sim.json").read_text())["url"]
    ingest = ticklake(home, "ingest", "sim", "--for", f"{options.seconds}s", "--json")
    started = time.time()
    with Sampler(state["dsn"], ingest.pid, exchange.pid, state["pid"]) as sampler:
        out, errors = ingest.communicate()
    took = time.time() - started
    status_url = url.replace("ws://", "http://").replace("/crypto", "/v1/status")
    with urlopen(status_url) as answer:
        sent = json.load(answer)
    exchange.terminate()
    exchange.communicate()
    if ingest.returncode:
        raise SystemExit(errors)
    events = int(json.loads(out)["mover"]["events"])
    found = latencies(state["dsn"], sampler.through)
    start = time.time()
    report = verify(home)
    figures = {
        "rate_asked": options.rate,
        "seconds": options.seconds,
        "events": events,
        "events_per_s": round(events / options.seconds),
        "exchange_sent": int(sent["events_sent"]),
        "drained_after_s": round(took - options.seconds, 1),
        **found,
        "cpu_us_per_event": {k: round(v / events * 1e6, 2) for k, v in sampler.cpu.items()},
        "rss_mib_max": round(max(sampler.rss)),
        "rss_mib_first_and_last_tenth": [
            round(max(sampler.rss[: len(sampler.rss) // 10 + 3])),
            round(max(sampler.rss[-len(sampler.rss) // 10 - 3 :])),
        ],
        "verify": str(report).splitlines()[0],
        "verify_holds": report.holds,
        "verify_s": round(time.time() - start, 1),
    }
    warehouse = sum(p.stat().st_size for p in (home / "warehouse").rglob("*.parquet"))
    journal = sum(p.stat().st_size for p in (home / "journal").rglob("*.journal"))
    figures["journal_bytes_per_lake_byte"] = round(journal / max(1, warehouse), 1)
    return figures


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--burst", help="RATE@AT+FOR, as 300000@20+5")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        try:
            found = measure(options, home)
        finally:
            down(home)
    print(json.dumps(found) if options.json else json.dumps(found, indent=2))
    return 0 if found["verify_holds"] else 1


if __name__ == "__main__":
    sys.exit(main())

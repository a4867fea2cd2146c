"""The whole path while a server is away: frozen for a while, or killed and started again.

    python benchmarks/outage.py [--stack HOME] [--server all|postgres|redis|minio|trino|prefect|...]
        [--mode both] [--rate 20000] [--seconds 90] [--at 20] [--away 30] [--json]

Without --stack the embedded PostgreSQL goes; with the home of a stack that is up, each of its
servers in turn, under a database and bucket folder of the run's own.
frozen: every process of the server is stopped and goes on later, as on a host that swaps or a disk
that hangs; killed: kill -9, and later `ticklake up`. The socket must not notice: its longest pause
(between the receive times of two frames) and the journal's longest stall (between two advances of
the durable frame) are printed for before, during and after. Caught up: the oldest durable frame
that hot, or the lake, does not hold yet is younger than a second, or five. shown: how long after
the server went `ticklake status` had named it, the time that it takes to answer included, and how
long after it the metrics had. Ends with 1 where an event was lost or doubled, or a server that was
away was not shown within five seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import psycopg

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the other benchmark lies beside this one

from benchmarks._stores_watch import StoresWatch  # noqa: E402
from benchmarks.throughput import children, ticklake  # noqa: E402
from infra.command.metrics import samples  # noqa: E402
from infra.servers import embedded  # noqa: E402
from infra.servers.ports import choose  # noqa: E402
from infra.servers.report import in_state  # noqa: E402
from lake.journal.reader import JournalReader  # noqa: E402
from lake.state import postgres_dsn, read_state  # noqa: E402
from lake.verify.verify import verify  # noqa: E402
from tests.stack.own_home import STOPPED, own_home, pids, send, status, up  # noqa: E402

MODES = ("frozen", "killed")
SHOWN_SAMPLE_S = 0.1
CAUGHT_UP_S = {"hot": 1.0, "lake": 5.0}
STARTED_S_MAX = 60.0
SENT_S_MAX = 600.0
SHOWN_S_MAX = 5.0


@dataclass(frozen=True)
class Outage:
    """When the server went, when it was called back, and when it was there again."""

    gone: float
    called: float
    back: float


@dataclass
class Shown:
    """How long after a server went it had been named, in seconds; None: it never was."""

    status_s: float | None = None
    metrics_s: float | None = None


@dataclass
class Site:
    """Where a run takes place: its home, and the stack under it, if there is one."""

    home: Path
    stack: Path | None
    metrics_url: str = ""
    shown: Shown = field(default_factory=Shown)

    def pids(self, server: str) -> list[int]:
        """Return a server's processes, its first one first."""
        if self.stack is not None:
            return pids(self.stack, server)
        postmaster = int(read_state(self.home)["postgres"]["pid"])
        return [postmaster, *children(postmaster)]

    def scrape(self) -> dict[str, float]:
        """Return the exporter's samples; none while it does not answer."""
        try:
            with urlopen(self.metrics_url) as answer:
                return samples(answer.read().decode())
        except OSError:
            return {}

    def start(self) -> None:
        """Start the server that was killed."""
        if self.stack is not None:
            up(self.stack)
        else:
            embedded.up(self.home)

    def look(self, server: str, gone: float, until: threading.Event) -> None:
        """Scrape until the metrics name a server that is away."""
        name = f'ticklake_server_up{{server="{in_state(server)}"}}'
        while not until.wait(SHOWN_SAMPLE_S):
            if self.scrape().get(name) == 0:
                self.shown.metrics_s = round(time.time() - gone, 1)
                return

    def ask(self, server: str, gone: float, until: threading.Event) -> None:
        """Ask `ticklake status` until it names a server that is away."""
        while not until.wait(SHOWN_SAMPLE_S):
            said = status(self.home)
            if in_state(server) in {each["thing"] for each in said["wrong"]}:
                self.shown.status_s = round(time.time() - gone, 1)
                return


def interrupt(site: Site, server: str, mode: str, away_s: float) -> Outage:
    """Take a server away for a while."""
    found = site.pids(server)
    gone = time.time()
    # the first before its children: it must not start others, nor mend
    send(found, signal.SIGSTOP if mode == "frozen" else signal.SIGKILL)
    back = threading.Event()
    looks = [threading.Thread(target=each, args=(server, gone, back))
             for each in (site.look, site.ask)]  # fmt: skip
    for look in looks:
        look.start()
    time.sleep(away_s)
    back.set()
    for look in looks:
        look.join()
    called = time.time()
    if mode == "frozen":
        send(found[::-1], signal.SIGCONT)
    else:
        site.start()
    return Outage(gone, called, time.time())


def by_phase(at: list[float], lasted_s: list[float], outage: Outage) -> dict[str, int]:
    """Return the longest by the phase in which it ended, in milliseconds."""
    found = dict.fromkeys(("before", "away", "after"), 0.0)
    for end, length in zip(at, lasted_s, strict=True):
        phase = "before" if end < outage.gone else "away" if end < outage.back else "after"
        found[phase] = max(found[phase], length)
    return {phase: round(length * 1000) for phase, length in found.items()}


def receive_times_s(journal: Path) -> list[float]:
    """Return when each frame of the venue was received."""
    reader = JournalReader(journal, 0)
    found: list[np.ndarray[Any, Any]] = []
    at = 1
    while runs := reader.read(at, frames_max=100_000, bytes_max=64 << 20):
        found += [run.frames.received_us for run in runs if not run.control]
        at = runs[-1].frames.last_frame + 1
    reader.close()
    return [float(each) / 1e6 for each in np.concatenate(found)]


def caught_up_s(watch: StoresWatch, store: str, outage: Outage) -> float | None:
    """Return the seconds from the return until the store's lag was small again; None: never."""
    for at, lag_s in watch.lags_s(store):
        if at > outage.back and lag_s < CAUGHT_UP_S[store]:
            return round(at - outage.back, 1)
    return None


def stored_events(dsn: str) -> int:
    """Return the trades and quotes in the ledger: bars are no events of the exchange's count."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT sum(rows)::bigint FROM market.ledger_minutes"
            " WHERE dataset IN ('crypto_trades', 'crypto_quotes')"
        ).fetchone()
    return int(row[0]) if row and row[0] else 0


def measure(server: str, mode: str, options: argparse.Namespace, site: Site) -> dict[str, Any]:
    """Run the path once; return the figures."""
    home = site.home
    port = choose(None)
    site.metrics_url = f"http://127.0.0.1:{port}/metrics"
    watcher = ticklake(home, "metrics", "--serve", "--port", str(port))
    name = f'ticklake_server_up{{server="{in_state(server)}"}}'
    try:
        wait_for(lambda: site.scrape().get(name) == 1, STARTED_S_MAX, "the exporter to look")
        return measured(server, mode, options, site)
    finally:
        watcher.terminate()
        watcher.communicate()


def measured(server: str, mode: str, options: argparse.Namespace, site: Site) -> dict[str, Any]:
    """Run exchange and ingest, and take the server away."""
    home, dsn = site.home, postgres_dsn(site.home)
    events = options.rate * options.seconds
    words = ["--rate", str(options.rate), "--events", str(events), "--tickers", "100"]
    words += ["--seed", "7", "--port", "0", "--start-when-subscribed"]
    exchange = ticklake(home, "sim", *words)
    place = home / "run" / "sim.json"
    wait_for(place.exists, STARTED_S_MAX, "the exchange to listen")
    status_url = json.loads(place.read_text())["url"]
    status_url = status_url.replace("ws://", "http://").replace("/crypto", "/v1/status")
    ingest = ticklake(home, "ingest", "sim", "--json")
    journal = home / "journal" / "shard-0"
    with StoresWatch(home) as watch:
        wait_for(lambda: len(watch.durable) > 1, STARTED_S_MAX, "the first frame")
        time.sleep(options.at)
        outage = interrupt(site, server, mode, options.away)
        wait_for(lambda: sent(status_url) >= events, SENT_S_MAX, "the exchange to send all")
        over = time.time()
        wait_for(lambda: is_caught_up(watch, outage), SENT_S_MAX, "hot and lake to catch up")
        ingest.send_signal(signal.SIGTERM)
        out, errors = ingest.communicate()
    events_sent = sent(status_url)
    exchange.terminate()
    exchange.communicate()
    if ingest.returncode:
        raise SystemExit(errors)
    report = verify(home)
    # what comes after the exchange's last event is its silence, and no stall
    received = [at for at in receive_times_s(journal) if at <= over]
    advances = [at for at, _ in watch.durable if at <= over]
    hot_lags = [lag for at, lag in watch.lags_s("hot") if at < outage.gone]
    return {
        "server": server,
        "mode": mode,
        "shown_status_s": site.shown.status_s,
        "shown_metrics_s": site.shown.metrics_s,
        "events_sent": events_sent,
        "events_stored": stored_events(dsn),
        "lost": report.lost,
        "duplicated": report.duplicated,
        "verify_holds": report.holds,
        "verify": str(report).splitlines()[0],
        "away_s": round(outage.back - outage.gone, 1),
        "start_s": round(outage.back - outage.called, 1),
        "journal_stall_ms_max": by_phase(advances[1:], list(np.diff(advances)), outage),
        "socket_pause_ms_max": by_phase(received[1:], list(np.diff(received)), outage),
        "hot_lag_ms_p50_before": round(1000 * float(np.median(hot_lags))),
        "hot_caught_up_s": caught_up_s(watch, "hot", outage),
        "lake_caught_up_s": caught_up_s(watch, "lake", outage),
        "reconnects": json.loads(out)["reconnects"],
        "mover_faults": {k: json.loads(out)["mover"][f"{k}_faults"] for k in ("hot", "lake")},
    }


def is_caught_up(watch: StoresWatch, outage: Outage) -> bool:
    """Tell whether hot and lake are."""
    return all(caught_up_s(watch, store, outage) is not None for store in CAUGHT_UP_S)


def sent(status_url: str) -> int:
    """Return how many events the exchange has sent so far."""
    with urlopen(status_url) as answer:
        return int(json.load(answer)["events_sent"])


def wait_for(done: Callable[[], bool], limit_s: float, what: str) -> None:
    """Wait until something is so."""
    end = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"outage: waited {limit_s:.0f} s for {what}")
        time.sleep(0.2)


@contextmanager
def sites(stack: Path | None, number: int) -> Iterator[Site]:
    """Yield a site of its own for each run."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        if stack is not None:
            with own_home(stack, home, f"outage_{os.getpid()}_{number}"):
                yield Site(home, stack)
            return
        embedded.up(home)
        try:
            yield Site(home, None)
        finally:
            embedded.down(home)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stack", type=Path, help="home of a stack that is up")
    parser.add_argument("--server", choices=("all", *STOPPED), default="all")
    parser.add_argument("--mode", choices=("both", *MODES), default="both")
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=90)
    parser.add_argument("--at", type=float, default=20)
    parser.add_argument("--away", type=float, default=30)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    stack = options.stack.resolve() if options.stack else None
    every = STOPPED if stack else ("postgres",)
    servers = every if options.server == "all" else (options.server,)
    if not set(servers) <= set(every):
        parser.error(f"--server {options.server}: only postgres can go without --stack")
    modes = MODES if options.mode == "both" else (options.mode,)
    found = []
    for number, (server, mode) in enumerate(product(servers, modes)):
        with sites(stack, number) as site:
            found.append(measure(server, mode, options, site))
            if not options.json:
                print(json.dumps(found[-1], indent=2), flush=True)
    if options.json:
        print(json.dumps(found))
    whole = all(each["verify_holds"] for each in found)
    shown = all(is_shown(each) for each in found)
    lost = any(each["lost"] + each["duplicated"] for each in found)
    return 0 if whole and shown and not lost else 1


def is_shown(found: dict[str, Any]) -> bool:
    """Tell whether status and metrics named a server that was away soon enough."""
    times = found["shown_status_s"], found["shown_metrics_s"]
    return all(time_s is not None and time_s <= SHOWN_S_MAX for time_s in times)


if __name__ == "__main__":
    sys.exit(main())

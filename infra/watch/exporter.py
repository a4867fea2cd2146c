"""Serve metrics to Prometheus: one ingest's own, or those of a home with all that runs in it.

A scrape never waits for a server: threads look at servers every second, at the hot tier every two,
at the lake every fifteen, and a scrape tells what they saw last. Where the servers have not been
seen for SERVERS_AGE_S_MAX, they count as down.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from infra.watch.families import Samples, add_home, add_ingests
from infra.watch.live_families import add_live, service_families
from infra.watch.probes import WATCHES_AS, Health, probe_all
from infra.watch.seen import FlowsSeen, Look, Seen, disk, journals, tried
from lake.clock import Clock
from lake.errors import BadInput, Unavailable
from lake.hot.look import HotLook, look
from lake.hot.standing import Standing, standing
from lake.ingest.hot_to_lake import LAKE_DATASETS
from lake.ingest.report import IngestReport, read_reports
from lake.roles import role_dsn
from lake.settings import Settings
from lake.state import read_state
from lake.tables.catalog import open_catalog
from lake.tables.table_size import TableSize, table_size
from lake.warehouse import warehouse_of
from serving.live.report import reports_of

PAIR = ("server.crt", "server.key")
PERIODS_S = {"servers": 1.0, "hot": 2.0, "lake": 15.0}
SERVERS_AGE_S_MAX = 5.0
SLOTS_EVERY = 2
"""Looks at frames and leases to one at edition, alerts and slots, which asks more of the server."""


class Watcher:
    """What was last seen of a home; its looks may run in threads."""

    def __init__(
        self, settings: Settings, clock: Clock, flows: Callable[[], FlowsSeen | None]
    ) -> None:
        """flows: looks at their process, which is for who started it to find."""
        self._settings = settings
        self._flows = flows
        self.home = settings.home
        self.clock = clock
        self._servers: dict[str, Health] = {}
        self._standing: Standing | None = None
        self._hot: HotLook | None = None
        self._sizes: dict[str, TableSize] = {}
        self._hot_looks = 0
        self.looks: dict[str, Look] = {}

    def look(self, name: str) -> None:
        """Look at the servers, the hot tier or the lake, and keep what is seen."""
        start_us = self.clock.monotonic_us()
        {"servers": self._look_servers, "hot": self._look_hot, "lake": self._look_lake}[name]()
        now_us = self.clock.monotonic_us()
        self.looks[name] = Look(now_us, (now_us - start_us) / 1e6)

    def seen(self) -> Seen:
        """Return everything, files of the home looked at just now."""
        age_s = self.age_s("servers")
        stale = age_s is not None and age_s > SERVERS_AGE_S_MAX
        servers = dict(self._servers)
        if stale:
            fault = f"not seen for {age_s:.0f} s"
            servers = {name: replace(each, up=False, fault=fault) for name, each in servers.items()}
        is_up = servers.get("postgres", Health(False, 0.0)).up
        return Seen(
            servers=servers,
            reports=read_reports(self.home, self.clock),
            journals=journals(self.home),
            disk=disk(self.home, self._settings.journal_bytes_max),
            standing=self._standing if is_up else None,
            hot=self._hot if is_up else None,
            sizes=self._sizes if is_up else {},
            lake_commit_ms=self._settings.lake_commit_ms,
            flows=self._flows(),
            live=reports_of(self.home, self.clock),
        )

    def age_s(self, name: str) -> float | None:
        """Return the time since a look ended; None before the first."""
        found = self.looks.get(name)
        return (self.clock.monotonic_us() - found.at_us) / 1e6 if found else None

    def _look_servers(self) -> None:
        self._servers = probe_all(read_state(self.home), self.clock)

    def _look_hot(self) -> None:
        if not self._servers.get("postgres", Health(False, 0.0)).up:
            self._standing = self._hot = None
            return
        self._standing = tried(lambda: standing(role_dsn(self.home, WATCHES_AS)))
        if self._hot is None or self._hot_looks % SLOTS_EVERY == 0:
            self._hot = tried(lambda: look(role_dsn(self.home, WATCHES_AS)))
        self._hot_looks += 1

    def _look_lake(self) -> None:
        if self._servers.get("postgres", Health(False, 0.0)).up:
            self._sizes = tried(self._table_sizes) or {}

    def _table_sizes(self) -> dict[str, TableSize]:
        dsn, files = role_dsn(self.home, WATCHES_AS), warehouse_of(self.home, WATCHES_AS)
        with closing(open_catalog(dsn, files)) as catalog:
            found = {dataset: table_size(catalog, dataset) for dataset in LAKE_DATASETS}
        return {dataset: size for dataset, size in found.items() if size is not None}


class _Collector(Collector):
    def __init__(
        self,
        collect: Callable[[Samples], None],
        more: Callable[[], Iterable[Family]] = lambda: (),
    ) -> None:
        self._collect = collect
        self._more = more

    def collect(self) -> Iterable[Family]:
        samples = Samples()
        self._collect(samples)
        yield from samples.families()
        yield from self._more()


def home_collector(watcher: Watcher) -> Collector:
    """Return what collects a home: its stores and servers, and all its ingests."""

    def collect(samples: Samples) -> None:
        seen = watcher.seen()
        add_ingests(samples, seen.reports)
        add_home(samples, seen)
        for name, found in watcher.looks.items():
            samples.add("ticklake_look_age_seconds", watcher.age_s(name), name)
            samples.add("ticklake_look_seconds", found.took_s, name)
        add_live(samples, watcher.home, watcher.clock)

    return _Collector(collect, lambda: service_families(watcher.home, watcher.clock))


def live_collector(home: Path, clock: Clock) -> Collector:
    """Return what collects the live half of a home (absolute path) alone."""
    return _Collector(
        lambda samples: add_live(samples, home, clock), lambda: service_families(home, clock)
    )


def ingest_collector(report: Callable[[], IngestReport | None]) -> Collector:
    """Return what collects one process' own ingest."""

    def collect(samples: Samples) -> None:
        said = report()
        add_ingests(samples, [said] if said is not None else [])

    return _Collector(collect)


def text(collector: Collector) -> str:
    """Return the metrics in Prometheus' text format."""
    return generate_latest(_registry(collector)).decode()


@contextmanager
def serving(collector: Collector, host: str, port: int, tls: str = "") -> Iterator[int]:
    """Serve /metrics until left; yield the port (0 asks for any). Unavailable when it is taken.

    tls: folder of server.crt and server.key, "" for plain; BadInput where they are not that.
    """
    folder = Path(tls).expanduser()
    certificate, key = (str(folder / name) if tls else None for name in PAIR)
    if certificate is not None:
        try:  # before there is a socket: the server would leave it open
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        except (FileNotFoundError, ssl.SSLError) as error:
            fault = f"has no {' and '.join(PAIR)} that fit"
            raise BadInput(f"certificates {tls}", fault, "make them, or copy them") from error
    try:
        server, thread = start_http_server(port, host, _registry(collector), certificate, key)
    except OSError as error:
        raise Unavailable(
            f"metrics on {host}:{port}", str(error.strerror or error), "choose another port"
        ) from error
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Look at everything again and again, in threads, until left."""
    stop = threading.Event()

    def again(name: str) -> None:
        watcher.look(name)
        while not stop.wait(PERIODS_S[name]):
            watcher.look(name)

    with ExitStack() as stack:
        for name in PERIODS_S:
            # daemons: a look at a server that froze meanwhile must not hold the end up
            threading.Thread(target=partial(again, name), daemon=True, name=name).start()
        stack.callback(stop.set)
        yield


def _registry(collector: Collector) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry


def home_text(watcher: Watcher) -> str:
    """Return a home's metrics now, after one look at everything."""
    for name in PERIODS_S:
        watcher.look(name)
    return text(home_collector(watcher))

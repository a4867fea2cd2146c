"""ticklake live."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from infra.command.answer import Answer
from infra.command.units import Duration
from infra.command.verb import note, verb
from lake.settings import Settings

AGAIN_S_MIN, AGAIN_S_MAX = 0.5, 30.0
"""A worker that ends is started again after this time, which doubles while it ends at once."""

STOP_S_MAX = 5.0
BESIDE = ("serving.live.run", "serving.signals.run")
"""Processes that run beside the service; each has a log of its name."""


@click.command()
@click.option("--host", metavar="ADDRESS", help="Where to listen (or TICKLAKE_SERVICE_HOST).")
@click.option("--port", type=click.IntRange(0, 65_535), help="0: any (or TICKLAKE_SERVICE_PORT).")
@click.option(
    "--tls",
    metavar="made|FOLDER|off",
    help="Its certificate (or TICKLAKE_SERVICE_TLS); default the servers', where they have one.",
)
@click.option("--name", "names", multiple=True, help="A name that it is reached by; several.")
@click.option("--for", "for_s", type=Duration(), help="End after this time (90s, 5m, 2h).")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65_535),
    help="Serve its own metrics without a key (or TICKLAKE_METRICS_PORT; 0: not).",
)
@verb
def live(
    settings: Settings,
    host: str | None,
    port: int | None,
    tls: str | None,
    names: tuple[str, ...],
    for_s: float | None,
    metrics_port: int | None,
) -> Answer:
    """Run the speed layer and the live service with its page, until Ctrl-C.

    Needs the servers (`up`) and an `ingest` of live sockets beside it. Orders go to a broker of
    paper and into the ledger; one process of a home leads. Writes need a key: ticklake keys add
    NAME --role trade.
    """
    from infra.servers import ports
    from infra.servers.service_tls import folder_of
    from lake.clock import SystemClock
    from lake.errors import Unavailable
    from lake.state import RUN_UP, valkey_url
    from serving.service.house import Address, service_of

    home = settings.home.resolve()
    valkey_url(home)  # Unavailable before `up`
    wanted = settings.service_port if port is None else port
    names += tuple(settings.service_names.replace(",", " ").split())
    if wanted and not ports.is_free(wanted):
        raise Unavailable(f"port {wanted}", "is taken", "choose another with --port, 0 for any")
    host = host or settings.service_host
    folder = folder_of(home, host, tls or settings.service_tls, names)
    address = Address(host, wanted or ports.choose(None), folder, names)
    metrics = settings.metrics_port if metrics_port is None else metrics_port
    with (
        worker(home),
        service_of(home, address, SystemClock()) as server,
        served(settings, home, metrics),
    ):
        note(f"live at {address.url}; Ctrl-C ends it")
        timer = threading.Timer(for_s or 0.0, lambda: setattr(server, "should_exit", True))
        if for_s is not None:
            timer.start()
        try:
            server.run()
        except KeyboardInterrupt:
            note("stopped")
        finally:
            timer.cancel()
        if not server.started:
            raise Unavailable("the service", "did not start", f"see above; {RUN_UP}")
    return Answer({"url": address.url}, [])


@contextmanager
def served(settings: Settings, home: Path, port: int) -> Iterator[None]:
    """Serve the metrics of the live half; port 0: not. Unavailable when it is taken."""
    from infra.watch.exporter import live_collector, serving
    from lake.clock import SystemClock

    if not port:
        yield
        return
    with serving(live_collector(home, SystemClock()), settings.metrics_host, port):
        yield


@contextmanager
def worker(home: Path) -> Iterator[None]:
    """Keep the processes of BESIDE running; they end with us, however we end."""
    ending = threading.Event()
    (home / "log").mkdir(parents=True, exist_ok=True)
    keepers = [threading.Thread(target=_keep, args=(home, each, ending)) for each in BESIDE]
    for keeper in keepers:
        keeper.start()
    try:
        yield
    finally:
        ending.set()
        for keeper in keepers:
            keeper.join()


def _keep(home: Path, module: str, ending: threading.Event) -> None:
    """Start a process again whenever it ends."""
    wait_s = AGAIN_S_MIN
    words = (sys.executable, "-m", module, str(home), "beside")
    log = home / "log" / f"{module.split('.')[1]}.log"
    while not ending.is_set():
        with log.open("ab") as out:
            process: subprocess.Popen[Any] = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=out, stderr=out
            )
        while process.poll() is None and not ending.wait(AGAIN_S_MIN):
            pass
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert process.stdin is not None
        process.stdin.close()
        if ending.wait(wait_s):
            return
        wait_s = min(AGAIN_S_MAX, wait_s * 2)

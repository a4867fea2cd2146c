"""ticklake live."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.command.answer import Answer
from infra.command.units import Duration, micros
from infra.command.verb import note, verb
from lake.errors import WrongUse
from lake.settings import Settings

if TYPE_CHECKING:
    from serving.service.house import Address

AGAIN_S_MIN, AGAIN_S_MAX = 0.5, 30.0
"""A worker that ends is started again after this time, which doubles while it ends at once."""

STOP_S_MAX = 5.0
SESSIONS_STOP_S_MAX = 15.0
"""A session that ends waits until its last orders are in the ledger."""

WORKER, SIGNALS, SESSIONS = "serving.live.run", "serving.signals.run", "serving.session.run"
"""Processes that run beside the service; each has a log of its name."""

AGAINST = ("ledger", "lake")


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
@click.option(
    "--strategy",
    "strategies",
    multiple=True,
    metavar="NAME[:K=V,...]",
    help="Trade on paper by it, on its account; several. With --replay: a day without session.",
)
@click.option(
    "--replay", type=click.DateTime(["%Y-%m-%d"]), help="Decide a UTC day's sessions again."
)
@click.option("--session", metavar="ID", help="With --replay: this session alone.")
@click.option(
    "--against",
    type=click.Choice(AGAINST),
    multiple=True,
    help="With --replay: compare with the ledger, or a backtest over the lake; both.",
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
    strategies: tuple[str, ...],
    replay: datetime | None,
    session: str | None,
    against: tuple[str, ...],
) -> Answer:
    """Run the speed layer, strategies and the live service with its page, until Ctrl-C.

    Needs the servers (`up`) and an `ingest` of live sockets beside it. A strategy trades on paper
    on the account of its name. Orders of the page go to a broker of paper; one process of a home
    leads. All are in the ledger, and within TICKLAKE_LIMITS. Writes need a key: ticklake keys add
    NAME --role trade.

    A session is a day's decisions of the strategies on one shard. --replay decides them again from
    the home's journal, or from the lake where that is gone by its age, without touching anything,
    and tells their number and digest; --against compares them order by order, and ends with 1 where
    they differ, and where the journal is gone and --against lake would compare the lake with
    itself. Of a day without a session, --strategy decides as if one had been live.

    \b
    ticklake live --strategy moving-average-cross:fast=5,slow=20,size=0.1
    ticklake live --replay 2026-11-26 --against ledger --against lake
    ticklake live --replay 2026-11-20 --strategy buy-and-hold:size=0.1
    """
    if replay is not None:
        from infra.command.replay import replayed

        return replayed(settings, micros(replay), session, against, strategies)
    if session or against:
        raise WrongUse("--session, --against", "are without --replay", "name the day: --replay DAY")
    from serving.broker.given_costs import costs_given
    from serving.risk.given_limits import limits_given
    from serving.session.plan import Plan, plan_of_words

    limits_given(settings.limits)  # sessions read them of the environment, too
    costs_given(settings.slippage_bp)
    if strategies:
        Plan(plan_of_words(strategies))  # refuses a wrong one before anything is started
    home = settings.home.resolve()
    address = _address(settings, home, host, port, tls, names)
    metrics = settings.metrics_port if metrics_port is None else metrics_port
    _serve(settings, home, address, metrics, strategies, for_s)
    return Answer({"url": address.url}, [])


def _address(
    settings: Settings,
    home: Path,
    host: str | None,
    port: int | None,
    tls: str | None,
    names: tuple[str, ...],
) -> Address:
    """Return where to listen; Unavailable before `up`, and where the port is taken."""
    from infra.servers import ports
    from infra.servers.service_tls import folder_of
    from lake.errors import Unavailable
    from lake.state import valkey_url
    from serving.service.house import Address

    valkey_url(home)  # Unavailable before `up`
    wanted = settings.service_port if port is None else port
    if wanted and not ports.is_free(wanted):
        raise Unavailable(f"port {wanted}", "is taken", "choose another with --port, 0 for any")
    host = host or settings.service_host
    names += tuple(settings.service_names.replace(",", " ").split())
    folder = folder_of(home, host, tls or settings.service_tls, names)
    return Address(host, wanted or ports.choose(None), folder, names)


def _serve(
    settings: Settings,
    home: Path,
    address: Address,
    metrics: int,
    strategies: tuple[str, ...],
    for_s: float | None,
) -> None:
    """Run everything until a signal, or for so many seconds."""
    from lake.clock import SystemClock
    from lake.errors import Unavailable
    from lake.state import RUN_UP
    from serving.broker.given_costs import costs_given
    from serving.live.report import BESIDE_SERVICE, end_report
    from serving.risk.given_limits import limits_given
    from serving.service.house import service_of

    risk, costs = limits_given(settings.limits), costs_given(settings.slippage_bp)
    for name in BESIDE_SERVICE:
        end_report(home, name)  # of one that was killed before
    with (
        beside(home, WORKER),
        beside(home, SIGNALS),
        beside(home, SESSIONS, *strategies) if strategies else nullcontext(),
        service_of(home, address, SystemClock(), risk, costs) as server,
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


@contextmanager
def served(settings: Settings, home: Path, port: int) -> Iterator[None]:
    """Serve the metrics of the live half; port 0: not. Unavailable when it is taken."""
    from infra.watch.exporter import live_collector, serving
    from lake.clock import SystemClock

    if not port:
        yield
        return
    collector = live_collector(home, SystemClock())
    with serving(collector, settings.metrics_host, port, settings.metrics_tls):
        yield


@contextmanager
def beside(home: Path, module: str, *words: str) -> Iterator[None]:
    """Keep a module's process running; it ends with us, however we end."""
    ending = threading.Event()
    log = home / "log" / f"{module.split('.')[1]}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    call = (sys.executable, "-m", module, str(home), *words, "beside")
    stop_s = SESSIONS_STOP_S_MAX if module == SESSIONS else STOP_S_MAX
    keeper = threading.Thread(target=_keep, args=(call, log, stop_s, ending))
    keeper.start()
    try:
        yield
    finally:
        ending.set()
        keeper.join()


def _keep(words: tuple[str, ...], log: Path, stop_s: float, ending: threading.Event) -> None:
    """Start a process again whenever it ends."""
    from lake.clock import SystemClock

    clock, wait_s = SystemClock(), AGAIN_S_MIN
    while not ending.is_set():
        began_us = clock.monotonic_us()
        with log.open("ab") as out:
            process: subprocess.Popen[Any] = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=out, stderr=out
            )
        while process.poll() is None and not ending.wait(AGAIN_S_MIN):
            pass
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(stop_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert process.stdin is not None
        process.stdin.close()
        if clock.monotonic_us() - began_us > AGAIN_S_MAX * 1e6:
            wait_s = AGAIN_S_MIN  # it did not end at once
        if ending.wait(wait_s):
            return
        wait_s = min(AGAIN_S_MAX, wait_s * 2)

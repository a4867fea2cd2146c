"""ticklake demo."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from infra.command.answer import Answer
from infra.command.panel import panel
from infra.command.units import Count, Duration
from infra.command.verb import note, verb
from infra.demo.candles import Candle, draw_png, terminal_candles
from infra.demo.queries import CANDLES, QUESTIONS
from infra.demo.scene import exchange, replay_of, servers
from lake import state
from lake.clock import Clock, SystemClock
from lake.ingest.request import IngestRequest
from lake.ingest.run import Status
from lake.ingest.run import ingest as run_ingest
from lake.settings import Settings
from lake.verify.report import Report
from lake.verify.verify import verify as prove
from lake.views.client import Client


@click.command()
@click.option("--seconds", type=Duration(), default="20s", show_default=True, help="Ingest time.")
@click.option("--rate", type=Count(), default="20k", show_default=True, help="Events per second.")
@click.option("--keep", is_flag=True, help="Leave the servers running afterwards.")
@verb
def demo(settings: Settings, seconds: float, rate: int, keep: bool) -> Answer:
    """Show the main job: socket to journal to hot tier to lake to SQL, and the proof.

    Uses a lake of its own, DIR/demo. Leaves nothing running unless --keep.
    """
    clock = SystemClock()
    home = (settings.home / "demo").resolve()
    steps = Steps(Console(stderr=True, highlight=False), clock)
    with servers(home, clock, keep=keep) as started:
        steps.say(f"PostgreSQL and Valkey are up in {home}")
        status = _ingest(settings, home, seconds, rate, clock, steps)
        with Client(started.state["postgres"]["dsn"]) as client:
            _ask(client, steps)
            chart = _draw(client, home / "candles.png", steps)
        steps.say("Prove it: journal, hot tier and lake against the loss ledger")
        report = prove(home)
        steps.console.print(f"  [bold]{report}[/bold]")
    _what_next(home, keep, steps)
    return _answer(status, report, chart)


class Steps:
    """Numbered lines on standard error, with the seconds since the start."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self.console = console
        self.clock = clock
        self._start_us = clock.monotonic_us()
        self._number = 0

    def say(self, line: str) -> None:
        """Begin a step."""
        self._number += 1
        spent_s = (self.clock.monotonic_us() - self._start_us) / 1e6
        self.console.print(
            f"\n[bold cyan]{self._number}[/bold cyan] {line} [dim]{spent_s:.1f} s[/dim]"
        )


def _ingest(
    settings: Settings, home: Path, seconds: float, rate: int, clock: Clock, steps: Steps
) -> Status:
    recording = replay_of(settings.data)
    with exchange(home, rate, clock) as url:
        feeds = ("sim", recording) if recording else ("sim",)
        beside = " and a recorded Binance file" if recording else ""
        steps.say(f"Ingest {url}{beside} for {seconds:g} s")
        with panel() as show:
            status = run_ingest(
                IngestRequest(feeds, speed="max", for_seconds=seconds, url=url),
                dsn=state.postgres_dsn(home),
                settings=settings,
                home=home,
                show=show,
            )
    for name, count in status.mover["rows"].items():
        if name.startswith(("crypto", "quarantine")) and count:
            steps.console.print(f"  {name:20} {count:>10,} rows in hot tier and lake")
    return status


def _ask(client: Client, steps: Steps) -> None:
    for question in QUESTIONS:
        start_us = steps.clock.monotonic_us()
        shown = str(client.sql(question.sql))
        spent_ms = (steps.clock.monotonic_us() - start_us) / 1000
        steps.say(f"{question.title} [dim]{spent_ms:.0f} ms[/dim]")
        steps.console.print(question.sql, style="dim", markup=False, soft_wrap=True)
        steps.console.print(shown.rstrip(), markup=False, soft_wrap=True)


def _draw(client: Client, path: Path, steps: Steps) -> Path:
    rows = client.polars(CANDLES).rows()
    candles = [Candle(*row) for row in rows]
    if not candles:
        return path
    steps.say(f"BTC by the second; as a picture in {path}")
    steps.console.print(terminal_candles(candles), soft_wrap=True)
    draw_png(candles, "X:BTCUSD, one-second candles of the simulated exchange", path)
    return path


def _what_next(home: Path, keep: bool, steps: Steps) -> None:
    steps.say("Next")
    up = "" if keep else f"  ticklake up --home {home}\n"
    note(
        f"{up}  ticklake sql --home {home}                    # ask it anything\n"
        f"  ticklake sim &  ticklake ingest sim --for 60s   # your own lake, in .ticklake\n"
        f"  ticklake ingest coinbase --tickers BTC-USD      # a real venue\n"
        f"  ticklake --help"
    )


def _answer(status: Status, report: Report, chart: Path) -> Answer:
    document = {
        "events": status.mover.get("events", 0),
        "rows": status.mover.get("rows", {}),
        "chart": str(chart),
        "verify": report.as_json(),
    }
    return Answer(document, [], report.holds)

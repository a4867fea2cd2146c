"""ticklake demo."""

from __future__ import annotations

import shutil
import sys
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from infra.command.answer import Answer
from infra.command.ingest import published
from infra.command.panel import panel
from infra.command.profile import to_start
from infra.command.replay import replayed
from infra.command.units import Count, Duration
from infra.command.verb import verb
from infra.demo.books import books_of
from infra.demo.candle_text import terminal_candles
from infra.demo.candles import candles
from infra.demo.lags import Lags
from infra.demo.page import Page
from infra.demo.questions import BTC, Answered, Question, ask, candle_named, questions
from infra.demo.scene import TICKERS, exchange, recording_in, servers, stops_interrupt
from infra.demo.trading import ORDERS_SHOWN, STRATEGY, traded, trading
from infra.exchange.options import ExchangeOptions
from infra.servers.profile import Profile
from lake.clock import Clock, SystemClock, utc_from_us
from lake.errors import Unavailable, WrongUse
from lake.ingest.request import IngestRequest
from lake.ingest.run import Status
from lake.ingest.run import ingest as run_ingest
from lake.settings import Settings
from lake.state import read_state
from lake.verify.report import Report
from lake.verify.verify import verify as prove
from lake.views.client import Client
from lake.warehouse import warehouse_of

SECONDS_MIN, SECONDS_MAX = 2.0, 3_600.0
SECONDS, RATE = 20.0, 20_000
LIVE_S, LIVE_RATE = 30.0, 2_000
"""How long, and how many events a second, where nothing else is said."""

FOLDER = "demo"
PICTURE = "candles.png"


@click.command()
@click.option(
    "--for",
    "for_s",
    type=Duration(),
    help=f"Time to ingest; {SECONDS:g}s, with --live {LIVE_S:g}s.",
)
@click.option(
    "--rate", type=Count(), help=f"Events per second; {RATE:,}, with --live {LIVE_RATE:,}."
)
@click.option("--live", is_flag=True, help="Trade on paper beside it, with the live page.")
@click.option("--keep", is_flag=True, help="Leave the servers running afterwards.")
@verb
def demo(
    settings: Settings,
    for_s: float | None,
    rate: int | None,
    live: bool,
    keep: bool,
    as_json: bool,
) -> Answer:
    """Show the main job: socket to journal to hot tier to lake to SQL, and the proof.

    The lake is one of its own, DIR/demo; what earlier demos left there stays. The simulated
    exchange errs on purpose: it repeats trades, breaks frames, and cuts the connection. Nothing is
    left running unless --keep. With --live a strategy trades on paper meanwhile: its orders are
    shown, the ledger is verified, and its decisions are made again from journal and lake; it is
    slower, so that two cores have enough for all that runs, and replays no recording.
    """
    if for_s is None:
        for_s = LIVE_S if live else SECONDS
    if rate is None:
        rate = LIVE_RATE if live else RATE
    if not SECONDS_MIN <= for_s <= SECONDS_MAX:
        bounds = f"use {SECONDS_MIN:g}s to {SECONDS_MAX:g}s"
        raise WrongUse("--for", f"{for_s:g} s is out of bounds", bounds)
    ExchangeOptions(rate=rate)  # refuses a rate out of bounds before anything is started
    home, clock = (settings.home / FOLDER).resolve(), SystemClock()
    page = Page(clock, stderr=as_json)
    page.title("ticklake: exchange socket → journal → hot tier → lake → SQL, exactly once")
    profile = to_start(settings, home)
    show = Show(settings, profile, home, for_s, page, clock)
    with stops_interrupt(), servers(profile, home, clock, keep=keep) as dsn:
        show.say_servers()
        document = show.ingest(dsn, rate, live=live)
        with stops_interrupt():  # again: ingest has used these signals for an end of its own
            with Client(dsn, warehouse_of(home)) as client:
                document |= show.say_books(client) | show.ask(client)
            holds = show.trade(dsn, document) if live else True
            report = show.prove(document["events"])
    show.say_next()
    return Answer({**document, "verify": report.as_json()}, holds=report.holds and holds)


@dataclass
class Show:
    """One demonstration: its lake, its length in seconds, the page that it is told on."""

    settings: Settings
    profile: Profile
    home: Path
    seconds: float
    page: Page
    clock: Clock
    since_us: int = 0
    recording: Path | None = None

    @property
    def here(self) -> Settings:
        """Return the settings of its own home."""
        return replace(self.settings, home=self.home)

    def say_servers(self) -> None:
        """Say what was started, and where."""
        self.page.step("Servers")
        for name, each in self.profile.status(self.home, self.clock).items():
            self.page.line(f"{name:11} {each['version']:7} {each['address']}")
        warehouse = read_state(self.home).get("warehouse", {}).get("location")
        self.page.line(f"{'lake':11} {'Iceberg':7} {warehouse or nearby(self.home / 'warehouse')}")

    def ingest(self, dsn: str, rate: int, *, live: bool) -> dict[str, Any]:
        """Ingest the simulated exchange, and a recording where there is one, under the panel."""
        self.recording = None if live else recording_in(self.settings.data)
        feeds = ["sim", *([f"replay:{self.recording}"] if self.recording else [])]
        lags = Lags()
        beside = trading(self.home, self.clock) if live else nullcontext("")
        with exchange(self.home, rate, self.seconds, self.clock) as url, beside as page:
            self.page.step(f"Ingest for {self.seconds:g} s")
            self.page.line(f"simulated   {url}, {TICKERS} tickers, {rate:,} events/s,")
            self.page.line("            with repeated trades, broken frames, cut connections")
            if self.recording:
                self.page.line(f"recorded    Binance, {self.recording.name}, as fast as it goes")
            if page:
                self.page.line(f"live        {page}, until this step ends; trades {STRATEGY}")
            request = IngestRequest(tuple(feeds), speed="max", for_seconds=self.seconds, url=url)
            self.since_us = self.clock.now_us()
            status = self._take_in(request, dsn, lags)
        if lags.hot_ms:
            self.page.line(f"delay       {lags}")
        return {
            "feeds": feeds,
            "frames": status.frames,
            "events": status.mover["events"],
            "rows": status.mover["rows"],
            **lags.as_json(),
        }

    def _take_in(self, request: IngestRequest, dsn: str, lags: Lags) -> Status:
        start_us = self.clock.monotonic_us()
        with panel() as show, published(self.here) as tap:

            def seen(status: Status) -> None:
                lags.see(status)
                show(status)

            status = run_ingest(
                request, dsn=dsn, settings=self.settings, home=self.home, show=seen, tap=tap
            )
        if self.clock.monotonic_us() - start_us < self.seconds * 1e6:
            raise KeyboardInterrupt  # ingest ends in order on a signal; so do we
        return status

    def say_books(self, client: Client) -> dict[str, Any]:
        """Say what became of every event."""
        books = books_of(client, self.since_us)
        self.page.step(f"What became of {books.events:,} events?")
        for line in books.lines():
            self.page.line(line)
        return {"books": books.as_json()}

    def ask(self, client: Client) -> dict[str, Any]:
        """Ask the questions, and draw what the last one gave."""
        asked = questions(self.since_us, self.seconds, recorded=self.recording is not None)
        answers = [self._ask(client, question) for question in asked]
        return {
            "questions": [each.as_json() for each in answers],
            "chart": str(self._draw(answers[-1])),
        }

    def _ask(self, client: Client, question: Question) -> Answered:
        answered = ask(client, question, self.clock)
        self.page.step(question.title)
        self.page.sql(question.sql)
        rows = answered.rows[-question.rows_shown :]
        self.page.table(answered.columns, rows)
        self.page.line(f"{len(answered.rows):,} rows in {answered.ms:,.0f} ms", "dim")
        return answered

    def _draw(self, answered: Answered) -> Path:
        from infra.demo.candle_picture import draw_candles

        found, path = candles(answered.rows), self.home / PICTURE
        if not found:
            raise Unavailable(f"trades of {BTC}", "none came", "see the log of the exchange")
        self.page.step(f"{BTC}, as a picture in {nearby(path)}")
        self.page.chart(terminal_candles(found, self.page.width))
        trades = sum(each.trades for each in found)
        subtitle = (
            f"{found[0].label} to {found[-1].label} UTC on {utc_from_us(self.since_us):%-d %B %Y}"
            f" · {trades:,} simulated trades · union view of lake and hot tier"
        )
        draw_candles(found, f"{BTC} by the {candle_named(self.seconds)}", subtitle, path)
        return path

    def trade(self, dsn: str, document: dict[str, Any]) -> bool:
        """Show what was traded, and decide it again; return whether ledger and decisions hold."""
        self.page.step("Orders on paper, in the ledger")
        found = traded(self.here, dsn, self.clock, self.since_us, ORDERS_SHOWN)
        columns = ("client_order_id", "ticker", "side", "filled_size", "size", "current_state")
        self.page.table(columns, [[each[name] for name in columns] for each in found.orders])
        if not found.orders:
            log = nearby(self.home / "log" / "session.log")
            self.page.line(f"none this time: {log} says when the session was live", "dim")
        good = "bold red" if found.faults else "bold green"
        for line in (*found.faults, f"{found.events:,} events, {len(found.faults)} faults"):
            self.page.line(line, good)
        again = replayed(self.here, self.since_us, None, ("ledger", "lake"))
        self.page.step(
            "The same decisions again: from the journal, as the ledger and the lake have"
        )
        for line in again.lines:
            self.page.line(line, "bold green" if again.holds else "bold red")
        document |= {"ledger": found.as_json(), **again.document}
        return again.holds and not found.faults

    def prove(self, events: int) -> Report:
        """Compare journal, hot tier and lake with the loss ledger; events: those of this demo."""
        self.page.step("Verify: journal, hot tier and lake against the loss ledger")
        start_us = self.clock.monotonic_us()
        report = prove(self.home)
        spent_s = (self.clock.monotonic_us() - start_us) / 1e6
        for line in str(report).splitlines():
            self.page.line(line, "bold green" if report.holds else "bold red")
        if report.events > events:
            self.page.line(f"{report.events - events:,} of them from earlier demos", "dim")
        self.page.line(f"{report.rows_read:,} rows read again in {spent_s:.1f} s", "dim")
        return report

    def say_next(self) -> None:
        """Say what runs, and what to try."""
        each = self.profile.status(self.home, self.clock).values()
        running = any(server["running"] for server in each)
        call, home = command(), f"--home {nearby(self.home)}"
        self.page.step("Next" if running else "Nothing is left running. Next")
        tries = [
            ("ask it anything", f"sql {home}"),
            ("prove it again, trusting no earlier proof", f"verify --full {home}"),
            ("a lake of your own, in .ticklake ...", "up"),
            ("... from a real venue", "ingest coinbase --tickers BTC-USD,ETH-USD --for 60s"),
        ]
        first = ("stop the servers", "down") if running else ("start its servers again", "up")
        tries.insert(len(tries) if running else 0, (first[0], f"{first[1]} {home}"))
        wide = max(len(words) for _, words in tries)
        for meaning, words in tries:
            self.page.line(f"{call} {words:{wide}}  # {meaning}")


def nearby(path: Path) -> Path:
    """Return a path as seen from the current folder, where it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def command() -> str:
    """Return how this command is called from here."""
    called = Path(sys.argv[0]).absolute()
    found = shutil.which("ticklake")
    if called.name != "ticklake" or (found and Path(found).absolute() == called):
        return "ticklake"
    return str(nearby(called))

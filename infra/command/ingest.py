"""ticklake ingest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict

import click

from infra.command.answer import Answer
from infra.command.panel import panel
from infra.command.units import Duration
from infra.command.verb import verb
from lake.clock import SystemClock
from lake.ingest.intake import Tap
from lake.ingest.report import reporting
from lake.ingest.request import CONNECTIONS_MAX, LIVE_FEEDS, REPLAY, IngestRequest
from lake.ingest.run import TapOf
from lake.ingest.run import ingest as run_ingest
from lake.ingest.share import share_of
from lake.ingest.status import Show, Status
from lake.roles import role_dsn
from lake.settings import AUTO, OFF, Settings
from lake.state import read_state

FATES = {
    "stored": "stored",
    "duplicate": "duplicates left out",
    "quarantined": "quarantined",
    "ignored": "of kinds not kept",
}
FEEDS = ", ".join((*LIVE_FEEDS, f"{REPLAY}PATH"))


@click.command(
    epilog=f"FEED is one of {FEEDS}. Ctrl-C drains to the lake; a second run goes on from there."
)
@click.argument("feeds", metavar="FEED...", nargs=-1, required=True)
@click.option("--tickers", metavar="A,B,...", default="", help="Only these; default all.")
@click.option("--share", metavar="I/N", help="Of these, the I-th (from 0) of N ingests' share.")
@click.option(
    "--connections",
    type=click.IntRange(1, CONNECTIONS_MAX),
    default=1,
    show_default=True,
    help="Connections per live feed, for redundancy.",
)
@click.option(
    "--speed",
    metavar="real|10x|max",
    default="real",
    show_default=True,
    help="Pace of replays.",
)
@click.option("--for", "for_s", type=Duration(), help="End after this time (90s, 5m, 2h).")
@click.option("--until-end", is_flag=True, help="End when every replay has ended.")
@click.option("--url", metavar="WS", help="The socket to use instead of the venue's own.")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65_535),
    metavar="PORT",
    help="Serve this ingest's own metrics (or TICKLAKE_METRICS_PORT; 0: not).",
)
@verb
def ingest(
    settings: Settings,
    feeds: tuple[str, ...],
    tickers: str,
    share: str | None,
    connections: int,
    speed: str,
    for_s: float | None,
    until_end: bool,
    url: str | None,
    metrics_port: int | None,
) -> Answer:
    """Take ticks from sockets or recordings through the journal into hot tier and lake."""
    named = tuple(filter(None, (ticker.strip() for ticker in tickers.split(","))))
    request = IngestRequest(
        feeds=feeds,
        tickers=named if share is None else share_of(named, share),
        connections=connections,
        speed=speed,
        for_seconds=for_s,
        until_end=until_end,
        url=url,
    )
    port = settings.metrics_port if metrics_port is None else metrics_port
    with ExitStack() as stack:
        show = stack.enter_context(panel())
        show = stack.enter_context(reporting(settings.home, SystemClock(), show))
        if port:
            show = stack.enter_context(served(settings, port, show))
        tap = stack.enter_context(published(settings))
        status = run_ingest(
            request,
            dsn=role_dsn(settings.home, "ingest"),
            settings=settings,
            home=settings.home.resolve(),
            show=show,
            tap=tap,
        )
    return Answer(asdict(status), closing_lines(status))


def closing_lines(status: Status) -> list[str]:
    """Say what came to the hot tier meanwhile and what became of it, as the ledger has it.

    Frames are also those that an earlier ingest had journalled, and records of our own.
    """
    fates = status.fates
    said = ", ".join(f"{fates[fate]:,} {word}" for fate, word in FATES.items())
    rows = status.mover.get("rows", {})
    return [
        f"shard {status.shard}: {fates['frames']:,} frames, {fates['events']:,} events in hot tier"
        f" and lake: {said}",
        *(f"  {name:20} {count:>12,} rows" for name, count in rows.items() if count),
    ]


@contextmanager
def published(settings: Settings) -> Iterator[TapOf | None]:
    """Send frames to the home's Redis too, if they are to go there and there is one."""
    address = read_state(settings.home).get("valkey", {}).get("url")
    if settings.streams == OFF or not address:
        yield None
        return
    from serving.streams.publisher import Publisher

    made: list[Publisher] = []

    def tap(shard: int, epoch: int, next_frame: int) -> Tap:
        recorded = settings.streams == "all"
        where = shard, epoch, next_frame
        always = settings.streams != AUTO
        made.append(Publisher(address, *where, SystemClock(), recorded=recorded, always=always))
        return made[-1]

    try:
        yield tap
    finally:
        for each in made:
            each.close()


@contextmanager
def served(settings: Settings, port: int, show: Show) -> Iterator[Show]:
    """Serve what is shown as metrics too; Unavailable when the port is taken."""
    from infra.watch.exporter import ingest_collector, serving
    from lake.ingest.report import as_report

    clock = SystemClock()
    newest: list[Status] = []

    def shown(status: Status) -> None:
        newest[:] = [status]
        show(status)

    collector = ingest_collector(lambda: as_report(newest[0], clock) if newest else None)
    with serving(collector, settings.metrics_host, port, settings.metrics_tls):
        yield shown

"""ticklake backfill."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.command.answer import Answer
from infra.command.panel import panel
from infra.command.units import TIME, TIME_HELP, micros
from infra.command.verb import verb
from lake.errors import WrongUse
from lake.settings import Settings

if TYPE_CHECKING:
    from flows.history_to_journal import Ask
    from flows.place import Place

VENUES = ("massive", "coinbase", "kraken", "binance")
DATASETS = ("trades", "aggregates")
MARKETS = ("spot", "usdm", "coinm")


@click.command(
    epilog="One of four: --ticker with --from and --to asks the venue's REST history; --gaps fills"
    " the gaps on record; --file takes files; --funding takes funding rates of perpetuals. Ctrl-C"
    " is safe: the same call goes on where it stopped, and what is held already is taken once. Rows"
    " that contradict what is held go to quarantine with both versions; a funding rate that does is"
    " refused."
)
@click.option("--ticker", metavar="BTC-USD", help="Instrument to ask for.")
@click.option("--from", "first", type=TIME, help=f"From here on. {TIME_HELP}")
@click.option("--to", "last", type=TIME, help=f"Up to here, exclusive; default now. {TIME_HELP}")
@click.option("--venue", type=click.Choice(VENUES), help="Default: all that trade the ticker.")
@click.option("--market", type=click.Choice(MARKETS), help="Of Binance; default spot.")
@click.option("--dataset", type=click.Choice(DATASETS), default="trades", show_default=True,
              help="Trades, or the venue's minute bars.")  # fmt: skip
@click.option("--gaps", is_flag=True, help="Fill the gaps on record, of every venue.")
@click.option("--file", "files", type=click.Path(path_type=Path), multiple=True, metavar="PATH",
              help="Binance's dumps (zip or CSV), CSV, Parquet; again for more.")  # fmt: skip
@click.option("--funding", type=click.Path(path_type=Path), metavar="PATH",
              help="Funding rates of --ticker at --venue: Parquet, CSV, Feather.")  # fmt: skip
@click.option("--again", is_flag=True, help="Ask anew for what was taken in before.")
@click.option("--url", metavar="HTTP", help="Ask here instead of at the venue's own address.")
@verb
def backfill(
    settings: Settings,
    ticker: str | None,
    first: datetime | None,
    last: datetime | None,
    venue: str | None,
    market: str | None,
    dataset: str,
    gaps: bool,
    files: tuple[Path, ...],
    funding: Path | None,
    again: bool,
    url: str | None,
) -> Answer:
    """Take history in from venues or files, through the journal; bars follow by themselves."""
    from flows.jobs import BACKFILL, GAPS
    from flows.place import place_of
    from infra.command.told import told

    if sum((ticker is not None and not (files or funding), gaps, bool(files), bool(funding))) != 1:
        raise WrongUse(
            "backfill",
            "asks for nothing, or too much",
            "one of --ticker, --gaps, --file, --funding",
        )
    place = place_of(settings.home)
    if funding is not None:
        return _funding(place, funding, (ticker, venue, market))
    if gaps:
        with told(settings, GAPS):
            return _gaps(place, venue, url)
    if files:
        with told(settings, BACKFILL):
            return _files(place, files, (ticker, venue, market, dataset), again)
    asks = _asks(place, (str(ticker), first, last), (venue, market, url), dataset)
    with told(settings, BACKFILL):
        return _histories(place, asks, again)


def _asks(
    place: Place,
    span: tuple[str, datetime | None, datetime | None],
    where: tuple[str | None, str | None, str | None],
    dataset: str,
) -> list[Ask]:
    from flows.history_to_journal import DATASETS as NAMES
    from flows.history_to_journal import Ask, venues_of
    from lake.clock import SystemClock
    from lake.feeds.instrument import warehouse_ticker
    from lake.history.page import Span
    from lake.history.venues import VenueMarket

    ticker, first, last = span
    venue, market, url = where
    if first is None:
        raise WrongUse("backfill", "needs --from", "for instance --from 2024-08-08")
    from_us = micros(first)
    to_us = SystemClock().now_us() if last is None else micros(last)
    name = ticker if ticker.startswith("X:") else warehouse_ticker(ticker)
    places = [VenueMarket(venue, market or "spot", url or "")] if venue else []
    places = places or [
        each for each in venues_of(place.dsn, name) if market in (None, each.market)
    ]
    if not places:
        raise WrongUse(f"ticker {name}", "was never taken in", "name its --venue")
    return [
        Ask(each, Span(NAMES[dataset], name, each.market, from_us, to_us), open=last is None)
        for each in places
    ]


def _funding(place: Place, path: Path, where: tuple[str | None, str | None, str | None]) -> Answer:
    from flows.file_to_funding_rates import store
    from lake.feeds.instrument import warehouse_ticker

    ticker, venue, market = where
    name = ticker if ticker is None or ticker.startswith("X:") else warehouse_ticker(ticker)
    given = {"ticker": name, "exchange": venue, "market": market}
    stored = store(place.dsn, place.warehouse, path, {k: v for k, v in given.items() if v})
    return Answer({"rows": stored.rows, "held": stored.held}, [stored.line()])


def _histories(place: Place, asks: list[Ask], again: bool) -> Answer:
    from flows.history_to_journal import backfill as fill
    from lake.clock import SystemClock

    with panel() as show:
        told = [fill(ask, place, SystemClock(), again=again, show=show) for ask in asks]
    bars = _bars(place)
    document = {"backfills": [_document(each) for each in told], "bars": bars}
    return Answer(document, [*(each.line() for each in told), f"{bars:,} bars made or made anew"])


def _document(told: Any) -> dict[str, Any]:
    progress = told.progress
    return {name: getattr(progress, name) for name in progress.__slots__}


def _gaps(place: Place, venue: str | None, url: str | None) -> Answer:
    from flows.gaps_to_history import fill_gaps
    from lake.clock import SystemClock

    if url and not venue:
        raise WrongUse("--url", "is of one venue", "name its --venue too")
    urls = {venue: url} if venue and url else {}
    with panel() as show:
        found = fill_gaps(place, SystemClock(), urls=urls, show=show)
    bars = _bars(place)
    lines = [each.line() for each in found] or ["no gap to fill"]
    faults = [fault for each in found for fault in each.faults.values()]
    document = {
        "feeds": [
            {
                "feed": each.feed,
                "shard": each.shard,
                "gaps": len(each.rows),
                "filled": len(each.filled),
                "rows": sum(told.progress.rows for told in each.told),
                "faults": sorted(set(each.faults.values())),
            }
            for each in found
        ],
        "bars": bars,
    }
    return Answer(document, [*lines, f"{bars:,} bars made or made anew"], holds=not faults)


def _files(
    place: Place,
    files: tuple[Path, ...],
    named: tuple[str | None, str | None, str | None, str],
    again: bool,
) -> Answer:
    from flows.files_to_journal import take_file
    from lake.clock import SystemClock
    from lake.feeds.instrument import warehouse_ticker

    ticker, venue, market, _ = named
    given = {"exchange": venue, "market": market, "ticker": ticker}
    if ticker is not None and "_" not in ticker:
        given["ticker"] = warehouse_ticker(ticker)
    known = {name: value for name, value in given.items() if value}
    if venue in ("coinbase", "kraken", "massive"):
        known.setdefault("market", "spot")
    with panel() as show:
        taken = [
            take_file(path, known, place, SystemClock(), again=again, show=show) for path in files
        ]
    bars = _bars(place)
    document = {"files": [_document(each) for each in taken], "bars": bars}
    return Answer(document, [*(each.line() for each in taken), f"{bars:,} bars made or made anew"])


def _bars(place: Place) -> int:
    """Publish the bars of what came; return how many."""
    from flows.trades_to_bars import TradesToBars

    grace_ms = place.settings.bars_grace_ms
    with TradesToBars(place.dsn, place.warehouse, grace_ms=grace_ms) as maker:
        return sum(step.put for step in maker.drain())

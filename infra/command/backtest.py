"""ticklake backtest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pyarrow.parquet as pq

from infra.command.answer import Answer
from infra.command.units import TIME, TIME_HELP, micros
from infra.command.verb import verb
from lake.errors import WrongUse
from lake.settings import Settings

if TYPE_CHECKING:
    from flows.backtest_plan import Plan
    from flows.release_to_backtest import Backtest

ENGINES = ("duckdb", "trino")
HELD_SHOWN_MAX = 5
"""Tickers that are named where a release holds less of them than was asked for."""

FOLDER = "backtests"
"""Of a home: the tables and sheets of its backtests, a folder each."""


@click.command()
@click.argument("strategy")
@click.option("--release", metavar="NAME", help="The release whose rows are traded on; required.")
@click.option("--ticker", "tickers", multiple=True, help="As X:BTCUSD; several with several.")
@click.option("--from", "first", type=TIME, help=f"First event time. {TIME_HELP}")
@click.option("--to", "last", type=TIME, help=f"Last event time, exclusive. {TIME_HELP}")
@click.option("--venue", "exchange", help="Venue, as binance; default all that have the ticker.")
@click.option("--market", help="Market of the venue, as spot or usdm; default all.")
@click.option("--interval", default="1m", show_default=True, help="Bars: 1s, 1m, 5m, 1h or 1d.")
@click.option("--ticks", is_flag=True, help="Fill orders against quotes and trades, not bars.")
@click.option("--param", "params", multiple=True, metavar="K=V", help="A strategy's parameter.")
@click.option(
    "--sweep", "sweeps", multiple=True, metavar="K=A:B:STEP", help="Try each value; or K=A,B,C."
)
@click.option("--cash", default="1000000", show_default=True, help="In quote currency.")
@click.option("--maker-bp", default="0", show_default=True, help="Fee of orders that rested.")
@click.option("--taker-bp", default="0", show_default=True, help="Fee of orders that took.")
@click.option("--spread-bp", default="0", show_default=True, help="Whole spread, where bars fill.")
@click.option("--slippage-bp", default="0", show_default=True, help="Worse than the best price.")
@click.option("--latency-ms", default=0, show_default=True, help="Decision to venue.")
@click.option("--delay-ms", default=0, show_default=True, help="A bar's end to its being known.")
@click.option(
    "--participation", default="1", show_default=True, help="Share of a bar's volume to be had."
)
@click.option("--size-max", help="Refuse an order above it, in base currency.")
@click.option("--exposure-max", help="Refuse a position worth more, in quote currency.")
@click.option("--daily-loss-max", help="After it, only orders that reduce, until midnight UTC.")
@click.option("--funding", is_flag=True, help="Let perpetuals pay the release's funding rates.")
@click.option(
    "--predictions",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Parquet file for model-signal, of `train --predictions`, or with: instrument, event_time,"
    " available_time, prediction.",
)
@click.option(
    "--engine", type=click.Choice(ENGINES), default="duckdb", show_default=True, help="Who reads."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Folder of the result."
)
@click.option("--partly", is_flag=True, help="Run also where a part of the span is lacking.")
@verb
def backtest(
    settings: Settings, engine: str, output: Path | None, partly: bool, **options: Any
) -> Answer:
    """Run STRATEGY over a release: bar by bar, or tick by tick, with costs.

    STRATEGY is buy-and-hold, moving-average-cross, mean-reversion or model-signal. An order is
    filled at the first open after it arrives, never in the bar that led to it. Tables of orders,
    fills and equity, a sheet to look at and a receipt are left behind; the same call gives the same
    tables to the last digit, which `ticklake verify RECEIPT` proves. A release that begins a day
    later or ends a day sooner than --from and --to is refused; a ticker that has less is warned of.

    \b
    ticklake backtest moving-average-cross --release first --ticker X:BTCUSD \\
        --from 2025-01-01 --to 2025-07-01 --interval 1h --taker-bp 5 --sweep fast=5:50:5
    """
    from flows.release_rows import open_rows
    from flows.release_to_backtest import backtest as run

    plan = plan_of_options(options)
    with open_rows(settings.home, plan.release, engine) as rows:
        result = run(rows, plan, whole=not partly)
    return saved(settings.home, result, output)


def plan_of_options(options: dict[str, Any]) -> Plan:
    """Return the plan that the options ask for."""
    from feature_repo.trading.costs import Costs
    from feature_repo.trading.limits import Limits
    from feature_repo.trading.money import MILLION, UNIT, ppm, units
    from flows.backtest_plan import Plan, values_of

    for name, option in (("release", "--release"), ("first", "--from"), ("last", "--to")):
        if options[name] is None:
            raise WrongUse("backtest", f"{option} is missing", "see: ticklake backtest --help")
    limits = [options[name] for name in ("size_max", "exposure_max", "daily_loss_max")]
    return Plan(
        strategy=options["strategy"],
        release=options["release"],
        tickers=options["tickers"],
        first_us=micros(options["first"]),
        last_us=micros(options["last"]),
        exchange=options["exchange"],
        market=options["market"],
        feed="ticks" if options["ticks"] else "bars",
        interval=options["interval"],
        delay_us=options["delay_ms"] * 1_000,
        params=pairs(options["params"]),
        sweep={name: values_of(text) for name, text in pairs(options["sweeps"]).items()},
        cash=units(options["cash"]),
        costs=Costs(
            maker=ppm(options["maker_bp"]),
            taker=ppm(options["taker_bp"]),
            half_spread=ppm(options["spread_bp"]) // 2,
            slippage=ppm(options["slippage_bp"]),
            latency_us=options["latency_ms"] * 1_000,
            participation=units(options["participation"]) * MILLION // UNIT,
        ),
        limits=Limits(*(None if each is None else units(each) for each in limits)),
        funding=options["funding"],
        predictions=str(options["predictions"].resolve()) if options["predictions"] else "",
    )


def saved(home: Path, result: Backtest, output: Path | None) -> Answer:
    """Write tables, sheet and receipt; return what is said of them."""
    from flows.backtest_to_sheet import sheet
    from lake.clock import SystemClock
    from lake.receipts.receipt import FOLDER as RECEIPTS
    from lake.receipts.receipt import save

    receipt = result.receipt(SystemClock())
    folder = output or home / FOLDER / f"{receipt.name}-{receipt.id}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in result.tables().items():
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
    page = folder / "sheet.html"
    page.write_text(sheet(result, receipt), encoding="utf-8")
    path = save(receipt, home / RECEIPTS)
    return Answer(document(result, receipt.result_hash, folder, path), lines(result, page, path))


def lines(result: Backtest, page: Path, receipt: Path) -> list[str]:
    """Return the result for people."""
    chosen, figures = result.chosen, result.chosen.figures
    equity = chosen.outcome.equity["equity"][-1].as_py()
    params = ", ".join(f"{name} {value}" for name, value in chosen.params.items())
    fees = sum(each.as_py() for each in chosen.outcome.fills["fee"])
    tried = len(result.sharpes)
    after = f"{tried} trial" if tried == 1 else f"{tried} trials"
    skill = f"{figures.sharpe:.2f}; {result.deflated:.1%} likely to be skill after {after}"
    return [
        f"{result.plan.strategy}{f' ({params})' if params else ''}: {tried} tried",
        *held(result),
        f"  equity     {equity:,.2f}, {figures.total:+.2%}, {figures.annual:+.2%} a year",
        f"  risk       volatility {figures.volatility:.2%}, deepest fall {figures.drawdown:.2%}",
        f"  Sharpe     {skill} (deflated Sharpe ratio)"
        if chosen.outcome.fills.num_rows
        else "  Sharpe     none: no order was filled",
        f"  orders     {chosen.outcome.orders.num_rows:,}, fills"
        f" {chosen.outcome.fills.num_rows:,}, fees {fees:,.2f}",
        f"  sheet      {page}",
        f"  receipt    {receipt}",
    ]


def held(result: Backtest) -> list[str]:
    """Return what was asked for and is not in the rows, a line a ticker; nothing where all is."""
    from flows.held_spans import words

    plan = result.plan
    asked = words((plan.first_us, plan.last_us))
    found = list(result.partly().items())
    lines = [
        f"  warning    the release has {name} of {words(span)} only, of {asked} asked for"
        for name, span in found[:HELD_SHOWN_MAX]
    ]
    if len(found) > HELD_SHOWN_MAX:
        lines.append(f"  warning    and a part only of {len(found) - HELD_SHOWN_MAX:,} more")
    if result.late:
        lines.append(f"  late       {result.late:,} bars left out: they came after newer ones")
    return lines


def document(result: Backtest, result_hash: str, folder: Path, receipt: Path) -> dict[str, object]:
    """Return the result for machines."""
    from flows.held_spans import texts

    chosen, figures = result.chosen, result.chosen.figures
    equity = chosen.outcome.equity["equity"]
    return {
        "strategy": result.plan.strategy,
        "release": result.plan.release,
        "params": dict(chosen.params),
        "equity": str(equity[-1].as_py()),
        "figures": {name: getattr(figures, name) for name in figures.__slots__},
        "deflated_sharpe": result.deflated,
        "trials": result.trials.to_pylist(),
        "orders": chosen.outcome.orders.num_rows,
        "fills": chosen.outcome.fills.num_rows,
        "spans": texts(result.spans),
        "partly": sorted(result.partly()),
        "late_bars": result.late,
        "models": dict(result.models),
        "features": dict(result.features),
        "result_hash": result_hash,
        "folder": str(folder),
        "receipt": str(receipt),
    }


def pairs(words: tuple[str, ...]) -> dict[str, str]:
    """Return K=V words by K; WrongUse for another word, or one K twice."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name or name in found:
            raise WrongUse(f"parameter {word!r}", "is none, or twice", "write NAME=VALUE")
        found[name] = value
    return found

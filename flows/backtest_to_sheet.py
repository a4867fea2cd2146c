"""A backtest becomes a sheet to look at: one HTML file that needs nothing else, light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from importlib.resources import files
from typing import Any

import numpy as np
import pyarrow as pa
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from feature_repo.trading.money import MILLION, PPM_PER_BP, UNIT, Units, units_of
from feature_repo.trading.statistics import Figures, drawdowns
from feature_repo.trading.streams import times_of
from flows.held_spans import words
from flows.release_to_backtest import Backtest
from flows.sheets.lines import area_chart, line_chart
from lake.clock import utc_from_us
from lake.receipts.receipt import Receipt

FILLS_SHOWN_MAX = 200
TRIALS_SHOWN_MAX = 20
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def sheet(result: Backtest, receipt: Receipt) -> str:
    """Return the page; what comes from data is escaped."""
    outcome = result.chosen.outcome
    times = times_of(outcome.equity["event_time"])
    equity = units_of(outcome.equity["equity"], "equity")
    held = _held(result, equity)
    money = equity / UNIT
    folder = files("flows.sheets")
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        folder.joinpath("sheet.html").read_text(encoding="utf-8")
    )
    plan = result.plan
    return page.render(
        style=Markup(folder.joinpath("sheet.css").read_text(encoding="utf-8")),
        plan=plan,
        first=f"{utc_from_us(plan.first_us):%Y-%m-%d %H:%M}",
        last=f"{utc_from_us(plan.last_us):%Y-%m-%d %H:%M}",
        partly=[(name, words(span)) for name, span in result.partly().items()],
        late=f"{result.late:,}" if result.late else "",
        feed=f"bars of {plan.interval}" if plan.feed == "bars" else "quotes and trades",
        params=", ".join(f"{name} {value}" for name, value in result.chosen.params.items()),
        figures=_figures(result.chosen.figures, result),
        equity={
            "svg": Markup(line_chart(times, money, held, "")),
            "other": held is not None,
        },
        falls=Markup(area_chart(times, drawdowns(equity), "%")),
        months=_months(times, equity),
        month_names=MONTHS,
        costs=_costs(result),
        trials_said=_trials_said(result),
        trial_names=[*result.plan.sweep, "fills", "equity", "Sharpe of a period"],
        trials=_trials(result),
        fills_said=_fills_said(outcome.fills),
        fills=[_fill(each) for each in outcome.fills.slice(0, FILLS_SHOWN_MAX).to_pylist()],
        receipt=receipt,
        data=sorted(result.data.items()),
    )


def _held(result: Backtest, equity: Units) -> tuple[Units, Any] | None:
    """Return the first ticker's price path, as if all the cash of the beginning had bought it."""
    if not result.prices.num_rows or not len(equity):
        return None
    closes = units_of(result.prices["close"], "close")
    return times_of(result.prices["event_time"]), closes / closes[0] * (equity[0] / UNIT)


def _figures(found: Figures, result: Backtest) -> list[tuple[str, str, str]]:
    fills = result.chosen.outcome.fills
    closing = [each for each in fills["realised"].to_pylist() if each]
    won = sum(1 for each in closing if each > 0) / len(closing) if closing else 0.0
    return [
        ("return", f"{found.total:+.2%}", mood(found.total)),
        ("a year", f"{found.annual:+.2%}", mood(found.annual)),
        ("volatility a year", f"{found.volatility:.2%}", ""),
        ("Sharpe ratio a year", f"{found.sharpe:.2f}", mood(found.sharpe)),
        ("deflated Sharpe ratio", f"{result.deflated:.1%}", ""),
        ("deepest fall", f"{found.drawdown:.2%}", ""),
        ("fills", f"{fills.num_rows:,}", ""),
        ("closing fills that won", f"{won:.0%}", ""),
    ]


def _months(times: Units, equity: Units) -> list[tuple[int, list[tuple[str, str]]]]:
    """Return a row a year: twelve months and the whole, each with its mood."""
    months = times.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    last = np.append(np.flatnonzero(np.diff(months)), len(months) - 1)
    values = np.concatenate([equity[:1], equity[last]]) / UNIT
    returns = dict(zip(months[last].tolist(), (values[1:] / values[:-1] - 1).tolist(), strict=True))
    rows = []
    for year in range(min(returns) // 12, max(returns) // 12 + 1):
        of_year = [returns.get(12 * year + month) for month in range(12)]
        whole = float(np.prod([1 + each for each in of_year if each is not None])) - 1
        cells = [("", "") if each is None else (f"{each:+.1%}", mood(each)) for each in of_year]
        rows.append((1970 + year, [*cells, (f"{whole:+.1%}", mood(whole))]))
    return rows


def _costs(result: Backtest) -> list[Sequence[str]]:
    outcome, costs = result.chosen.outcome, result.plan.costs
    fills = outcome.fills
    prices, sizes = units_of(fills["price"], "price"), units_of(fills["size"], "size")
    values = (prices / UNIT) * (sizes / UNIT)
    taken = values[~np.asarray(fills["maker"].to_numpy(zero_copy_only=False), dtype=bool)]
    turnover = float(values.sum())
    by_bars = result.plan.feed == "bars"
    worse = costs.slippage + (costs.half_spread if by_bars else 0)
    fees = float(sum(fills["fee"].to_pylist(), Decimal(0)))
    paid = float(sum(outcome.funding["paid"].to_pylist(), Decimal(0)))
    rates = f"maker {_bp(costs.maker)}, taker {_bp(costs.taker)}"
    spread = f"half spread {_bp(costs.half_spread)}, slippage {_bp(costs.slippage)}"
    return [
        ("Fees", *_amounts(fees, turnover), rates),
        ("Spread and slippage", *_amounts(float(taken.sum()) * worse / MILLION, turnover), spread),
        ("Funding", *_amounts(paid, turnover), "on" if result.plan.funding else "off"),
        ("Turnover", f"{turnover:,.2f}", "", ""),
    ]


def _amounts(amount: float, turnover: float) -> tuple[str, str]:
    share = amount / turnover if turnover else 0.0
    return f"{amount:,.2f}", f"{share * 10_000:.2f} bp"


def _bp(millionths: int) -> str:
    return f"{millionths / PPM_PER_BP:g} bp"


def _trials_said(result: Backtest) -> str:
    count = len(result.sharpes)
    found = result.chosen.figures
    tried = "one was tried" if count == 1 else f"the best of {count:,} that were tried"
    return (
        f"With {result.deflated:.1%} probability its true Sharpe ratio is above what the best of"
        f" as many without skill would show (deflated Sharpe ratio, Bailey and Lopez de Prado,"
        f" 2014): {tried}, {found.periods:,} periods, skew {found.skew:.2f}, kurtosis"
        f" {found.kurtosis:.2f}."
        " Trials that were made and are not in this sweep are not counted."
    )


def _trials(result: Backtest) -> list[list[str]]:
    if not result.plan.sweep:
        return []
    order = sorted(range(len(result.sharpes)), key=lambda n: (-result.sharpes[n], n))
    rows = result.trials.to_pylist()
    return [
        [
            *(str(rows[n][name]) for name in result.plan.sweep),
            f"{rows[n]['fills']:,}",
            f"{rows[n]['equity']:,.2f}",
            f"{result.sharpes[n]:.4f}",
        ]
        for n in order[:TRIALS_SHOWN_MAX]
    ]


def _fills_said(fills: pa.Table) -> str:
    if fills.num_rows > FILLS_SHOWN_MAX:
        return f"The first {FILLS_SHOWN_MAX} of {fills.num_rows:,}; fills.parquet beside has all."
    return "All of them." if fills.num_rows else "None."


def _fill(fill: Mapping[str, Any]) -> tuple[list[str], str]:
    cells = [
        f"{fill['event_time']:%Y-%m-%d %H:%M:%S}",
        fill["ticker"],
        f"{fill['side']}, {'maker' if fill['maker'] else 'taker'}",
        f"{fill['price']:,.2f}",
        f"{fill['size'].normalize():f}",
        f"{fill['fee']:,.2f}",
        f"{fill['realised']:+,.2f}" if fill["realised"] else "",
    ]
    return cells, mood(float(fill["realised"]))


def mood(value: float) -> str:
    """Return the class of a value's colour."""
    return "up" if value > 0 else "down" if value < 0 else ""

"""A release becomes a backtest: events in order, a strategy, costs; tables, figures, a receipt.

Deterministic: the same plan over the same rows gives the same tables to the last unit, on either
engine, and the receipt proves it. A sweep runs its trials over whole series where their rules allow
it, and event by event where not, to the same result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from feature_repo.arrival import promised_us
from feature_repo.strategies.catalog import make
from feature_repo.trading.look_ahead import check_targets
from feature_repo.trading.market import Event
from feature_repo.trading.money import units_of
from feature_repo.trading.outcome import Outcome, outcome_of
from feature_repo.trading.simulation import Simulation
from feature_repo.trading.statistics import Figures, deflated_sharpe, figures
from feature_repo.trading.streams import (
    bars_in_turn,
    bars_of,
    fundings_of,
    instruments_in,
    merged,
    of_instrument,
    quotes_of,
    times_of,
    trades_of,
    values_of,
)
from feature_repo.trading.sweep import run_series, series_of
from flows.backtest_plan import Plan, plan_of
from flows.held_spans import Span, partly, require_held, span_of, texts
from flows.release_rows import ReleaseRows, open_rows, predictions, written_by
from lake.clock import Clock, SystemClock, utc_from_us
from lake.receipts.digest import table_digest
from lake.receipts.receipt import Inputs, Receipt, receipt_of

KIND = "backtest"
SAMPLE_US = 60_000_000
"""Of ticks the equity is recorded once a minute; of bars, at each."""

READ_FROM = {
    "bars": "bars",
    "quotes": "crypto_quotes",
    "trades": "crypto_trades",
    "fundings": "funding_rates",
}
"""What is read -> the dataset of the release that it comes from."""

Tables = Mapping[tuple[str, str], pa.Table]
"""(what, ticker) -> its rows; what is one of READ_FROM, or predictions."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One choice of parameters and what it came to."""

    params: Mapping[str, str]
    outcome: Outcome
    figures: Figures


@dataclass(frozen=True, slots=True)
class Backtest:
    """A plan's result: the chosen trial, and every one that was tried.

    trials: a row each, with what was swept and the last equity. sharpes: their Sharpe ratios of
    one period, in that order. deflated: the probability that the chosen has skill after so many
    trials. data: what was read -> digest of its rows. prices: event_time and close of the first
    ticker's bars, to compare with. spans: what was read -> the time that its rows cover. late: bars
    left out, as they came after newer ones. models, features: those of the predictions.
    """

    plan: Plan
    chosen: Trial
    trials: pa.Table
    sharpes: tuple[float, ...]
    deflated: float
    data: Mapping[str, str]
    snapshots: Mapping[str, int]
    prices: pa.Table
    spans: Mapping[str, Span]
    late: int = 0
    models: Mapping[str, str] = field(default_factory=dict)
    features: Mapping[str, str] = field(default_factory=dict)

    def partly(self) -> dict[str, Span]:
        """Return what covers less than was asked for, by more than a bar: bars, or the ticks."""
        return _partly(self.plan, self.spans)

    def tables(self) -> dict[str, pa.Table]:
        """Return every table of the result by name."""
        return {**self.chosen.outcome.tables(), "trials": self.trials}

    def receipt(self, clock: Clock) -> Receipt:
        """Return what it was made of, and its hash."""
        plan = self.plan
        inputs = Inputs(
            plan.release,
            self.data,
            plan.document(),
            snapshots=self.snapshots,
            features=self.features,
            models=self.models,
            seed=plan.seed,
            spans=texts(self.spans),
        )
        now = utc_from_us(clock.now_us())
        return receipt_of(KIND, plan.strategy, inputs, self.tables(), now)


def backtest(rows: ReleaseRows, plan: Plan, *, whole: bool = False) -> Backtest:
    """Run a plan over a release's rows; whole: refuse a release that holds a part of its span only.

    Of a sweep the trial with the highest Sharpe ratio is chosen, the first of equals. Raises
    WrongUse for parameters that are none; BadInput for a strategy that peeks; Unavailable where
    the release lacks what the plan needs, or a part of its span.
    """
    make(plan.strategy, next(plan.choices()))  # what is wrong with it is said before any reading
    tables = read_tables(rows, plan)
    spans = _spans(plan, tables)
    if whole and _partly(plan, spans):
        traded = f"bars of {plan.interval}" if plan.feed == "bars" else "quotes"
        require_held(plan.release, traded, rows.held(plan), (plan.first_us, plan.last_us))
    models, features = _made_by(plan)
    refuse_peeking(plan, tables)
    chosen: Trial | None = None
    sharpes: list[float] = []
    tried: list[dict[str, object]] = []
    for params in plan.choices():
        outcome = run_trial(plan, params, tables)
        found = figures(
            times_of(outcome.equity["event_time"]), units_of(outcome.equity["equity"], "equity")
        )
        sharpes.append(found.period_sharpe)
        tried.append(_line(plan, params, outcome))
        if chosen is None or found.period_sharpe > chosen.figures.period_sharpe:
            chosen = Trial(params, outcome, found)
    assert chosen is not None
    read_from = {READ_FROM[what] for what, _ in tables if what in READ_FROM}
    return Backtest(
        plan,
        chosen,
        _trials(plan, tried),
        tuple(sharpes),
        deflated_sharpe(chosen.figures, sharpes),
        {f"{what} {ticker}": table_digest(table) for (what, ticker), table in tables.items()},
        {name: at for name, at in rows.snapshots.items() if name in read_from},
        tables["bars", plan.tickers[0]].select(["event_time", "close"]),
        spans,
        _late(plan, tables),
        models,
        features,
    )


def read_tables(rows: ReleaseRows, plan: Plan) -> Tables:
    """Return everything that the plan's events are made of."""
    tables = {}
    for ticker in plan.tickers:
        tables["bars", ticker] = rows.bars(plan, ticker)
        if plan.feed == "ticks":
            tables["quotes", ticker] = rows.quotes(plan, ticker)
            tables["trades", ticker] = rows.trades(plan, ticker)
        if plan.funding:
            tables["fundings", ticker] = rows.fundings(plan, ticker)
    if plan.predictions:
        tables["predictions", "all"] = predictions(Path(plan.predictions))
    return tables


def refuse_peeking(plan: Plan, tables: Tables) -> None:
    """Raise BadInput where the strategy, as it is tried first, knows bars that come later."""
    strategy: Any = make(plan.strategy, next(plan.choices()))
    if not hasattr(strategy, "targets"):
        return
    for ticker in plan.tickers:
        rows = tables["bars", ticker]
        for instrument in instruments_in(rows):
            closes = units_of(of_instrument(rows, instrument)["close"], "close")
            check_targets(plan.strategy, strategy.targets, closes)


def run_trial(plan: Plan, params: Mapping[str, str], tables: Tables) -> Outcome:
    """Return what one choice of parameters comes to."""
    strategy: Any = make(plan.strategy, params)
    series = tables["bars", plan.tickers[0]]
    if plan.sweep and hasattr(strategy, "targets") and _is_one_series(plan, series):
        (instrument,) = instruments_in(series)
        arrays = series_of(series, instrument, plan.width_us, plan.delay_us)
        found = run_series(strategy, arrays, cash=plan.cash, costs=plan.costs)
        if found is not None:
            return found
    simulation = Simulation(
        strategy,
        cash=plan.cash,
        costs=plan.costs,
        limits=plan.limits,
        by="bars" if plan.feed == "bars" else "quotes",
        sample_us=1 if plan.feed == "bars" else SAMPLE_US,
    )
    return outcome_of(simulation.run(merged(list(_streams(plan, tables)))))


def again(home: Path, receipt: Receipt) -> Receipt:
    """Return the receipt of the same backtest, made anew in a home."""
    plan = plan_of(receipt.inputs.config)
    with open_rows(home, plan.release) as rows:
        return backtest(rows, plan).receipt(SystemClock())


def _is_one_series(plan: Plan, series: pa.Table) -> bool:
    """Tell whether the rules of a plan are those that a whole series can be run by."""
    is_plain = plan.feed == "bars" and not (plan.funding or plan.predictions or plan.limits.any)
    return is_plain and len(plan.tickers) == 1 and len(instruments_in(series)) == 1


def _streams(plan: Plan, tables: Tables) -> Iterator[Iterable[Event]]:
    """Yield the streams of events; of one moment, quotes come before trades before bars.

    Funding follows the bar that ends with it, which has been held until then.
    """
    for what in ("quotes", "trades", "bars", "fundings", "predictions"):
        for (kind, _), table in tables.items():
            if kind != what:
                continue
            for instrument in instruments_in(table):
                rows = of_instrument(table, instrument)
                if what == "quotes":
                    yield quotes_of(rows, instrument, promised_us([READ_FROM[what]]))
                elif what == "trades":
                    yield trades_of(rows, instrument, promised_us([READ_FROM[what]]))
                elif what == "bars":
                    yield bars_of(rows, instrument, plan.width_us, plan.delay_us)
                elif what == "fundings":
                    yield fundings_of(rows, instrument)
                else:
                    yield values_of(rows, instrument, ["prediction"])


def _made_by(plan: Plan) -> tuple[dict[str, str], dict[str, str]]:
    """Return the models and the sets of features that the plan's predictions are of."""
    return written_by(Path(plan.predictions)) if plan.predictions else ({}, {})


def _spans(plan: Plan, tables: Tables) -> dict[str, Span]:
    """Return what was read of which instrument -> the time that its rows cover."""
    found = {
        f"{what} {ticker}": span_of(rows, plan.width_us if what == "bars" else 0)
        for (what, ticker), rows in tables.items()
    }
    return {name: span for name, span in found.items() if span is not None}


def _partly(plan: Plan, spans: Mapping[str, Span]) -> dict[str, Span]:
    """Return what covers less than was asked for, by more than a bar: bars, or the ticks."""
    traded = {
        name: span
        for name, span in spans.items()
        if name.partition(" ")[0] == ("bars" if plan.feed == "bars" else "quotes")
    }
    return partly(traded, (plan.first_us, plan.last_us), plan.width_us)


def _late(plan: Plan, tables: Tables) -> int:
    """Count the bars that a strategy can't be given, as they came after newer ones."""
    count = 0
    for (what, _), rows in tables.items():
        for instrument in instruments_in(rows) if what == "bars" else ():
            given = of_instrument(rows, instrument)
            count += given.num_rows - bars_in_turn(given, plan.width_us, plan.delay_us)[0].num_rows
    return count


def _line(plan: Plan, params: Mapping[str, str], outcome: Outcome) -> dict[str, object]:
    equity = outcome.equity["equity"]
    return {
        **{name: params[name] for name in plan.sweep},
        "orders": outcome.orders.num_rows,
        "fills": outcome.fills.num_rows,
        "equity": equity[-1].as_py() if len(equity) else None,
    }


def _trials(plan: Plan, lines: list[dict[str, object]]) -> pa.Table:
    kinds = [(name, pa.string()) for name in plan.sweep]
    counts = [("orders", pa.int64()), ("fills", pa.int64())]
    schema = pa.schema([*kinds, *counts, ("equity", pa.decimal128(28, 10))])
    return pa.Table.from_pylist(lines, schema)

"""Backtests: bars and ticks a second, beside others that are installed; 100 tickers, two years.

    python benchmarks/backtest.py [--bars N] [--ticks N] [--tickers N] [--days N] [--json]

One strategy, a moving-average cross, on a made random walk. The event loop and the whole series of
a sweep are measured on the same bars, beside vectorbt and backtesting.py (the extra `bench`) and
NautilusTrader, each where it is installed: all must win the same to the cent, or it ends with 1.
Load plus backtest reads tickers of minute bars of Parquet by DuckDB, as the lake's files are read,
and runs each through one trial of a sweep.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from _other_backtesters import installed

from feature_repo.strategies.moving_average_cross import MovingAverageCross
from feature_repo.trading.costs import Costs
from feature_repo.trading.market import Instrument, Quote
from feature_repo.trading.money import UNIT, decimals_of, units
from feature_repo.trading.outcome import Outcome, outcome_of
from feature_repo.trading.simulation import Simulation
from feature_repo.trading.streams import bars_of
from feature_repo.trading.sweep import run_series, series_of

BTC = Instrument("X:BTCUSD", "sim", "spot")
MINUTE_US = 60_000_000
DAY_MINUTES = 1_440
START_US = 1_700_000_040_000_000
CASH = units("1000000")
FAST, SLOW = 20, 50
CENTS = UNIT // 100


def walk(seed: int, count: int) -> dict[str, np.ndarray]:
    """Return bars of a random walk, in units of 1e-10; prices have cents."""
    chance = np.random.default_rng(seed)
    closes = np.round(5_000_000 * np.exp(np.cumsum(chance.normal(0, 0.0005, count)))).astype(int)
    opens = np.concatenate([closes[:1], closes[:-1]]) + chance.integers(-200, 200, count)
    columns = {
        "open": opens,
        "high": np.maximum(opens, closes) + 100,
        "low": np.minimum(opens, closes) - 100,
        "close": closes,
    }
    found = {name: values * CENTS for name, values in columns.items()}
    return {**found, "volume": np.full(count, 100 * UNIT)}


def rows_of(columns: dict[str, np.ndarray], ticker: str = BTC.ticker) -> pa.Table:
    """Return them as the lake has them."""
    count = len(columns["close"])
    times = START_US + MINUTE_US * np.arange(count)
    return pa.table(
        {
            "ticker": pa.repeat(ticker, count),
            "event_time": pa.array(times).cast(pa.timestamp("us", "UTC")),
            "received_time": pa.array(times + MINUTE_US).cast(pa.timestamp("us", "UTC")),
            **{name: decimals_of(values) for name, values in columns.items()},
        }
    )


def profit(outcome: Outcome) -> float:
    """Return what was won."""
    return float(outcome.equity["equity"][-1].as_py()) - CASH / UNIT


def measure_bars(count: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return bars a second by name, and the profit of each."""
    columns = walk(1, count)
    rows = rows_of(columns)
    begun = time.perf_counter()
    simulation = Simulation(MovingAverageCross(FAST, SLOW), cash=CASH)
    by_events = outcome_of(simulation.run(bars_of(rows, BTC, MINUTE_US, 0)))
    events_s = time.perf_counter() - begun
    begun = time.perf_counter()
    series = series_of(rows, BTC, MINUTE_US, 0)
    at_once = run_series(MovingAverageCross(FAST, SLOW), series, cash=CASH, costs=Costs())
    series_s = time.perf_counter() - begun
    assert at_once is not None
    assert at_once.tables() == by_events.tables()
    rates = {"ticklake, events": count / events_s, "ticklake, series": count / series_s}
    profits = {"ticklake": profit(by_events)}
    opens, closes = (columns[name] / UNIT for name in ("open", "close"))
    for name, run in installed().items():
        won, seconds = run(opens, closes, FAST, SLOW)
        rates[name], profits[name] = count / seconds, won
    return rates, profits


def measure_ticks(count: int) -> float:
    """Return quotes a second through the event loop, with a bar a minute and orders that cross."""
    columns = walk(2, count // 100 or 1)
    bars = list(bars_of(rows_of(columns), BTC, MINUTE_US, 0))
    quotes = []
    for bar in bars:
        for n in range(100):
            at, mid = bar.start_us + n * 500_000, bar.open + n * CENTS
            quotes.append(Quote(BTC, at, at, mid - CENTS, UNIT, mid + CENTS, UNIT))
    events = sorted([*quotes, *bars], key=lambda each: each.available_us)
    simulation = Simulation(
        MovingAverageCross(FAST, SLOW),
        cash=CASH,
        costs=Costs(taker=500, latency_us=10_000),
        by="quotes",
        sample_us=MINUTE_US,
    )
    begun = time.perf_counter()
    record = simulation.run(events)
    seconds = time.perf_counter() - begun
    assert record.fills
    return len(quotes) / seconds


def measure_load(tickers: int, days: int) -> dict[str, float]:
    """Return the seconds of loading and running so many tickers, from files of a ticker each."""
    count = days * DAY_MINUTES
    with tempfile.TemporaryDirectory() as folder:
        for n in range(tickers):
            rows = rows_of(walk(n, count), f"X:T{n:03}USD")
            pq.write_table(rows, Path(folder) / f"{n:03}.parquet", compression="zstd")
        load_s = run_s = 0.0
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            for n in range(tickers):
                begun = time.perf_counter()
                rows = connection.execute(
                    "SELECT event_time, open, high, low, close, volume FROM read_parquet(?)"
                    " WHERE ticker = ? ORDER BY event_time",
                    [f"{folder}/*.parquet", f"X:T{n:03}USD"],
                ).to_arrow_table()
                load_s += time.perf_counter() - begun
                begun = time.perf_counter()
                series = series_of(rows, BTC, MINUTE_US, 0)
                found = run_series(
                    MovingAverageCross(FAST, SLOW), series, cash=CASH, costs=Costs(taker=500)
                )
                assert found is not None
                run_s += time.perf_counter() - begun
    return {"tickers": tickers, "bars": tickers * count, "load_s": load_s, "run_s": run_s}


def main() -> int:
    """Print the figures; end with 1 where profits differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=500_000)
    parser.add_argument("--ticks", type=int, default=500_000)
    parser.add_argument("--tickers", type=int, default=100)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rates, profits = measure_bars(given.bars)
    found = {
        "bars_per_s": rates,
        "profits": profits,
        "ticks_per_s": measure_ticks(given.ticks),
        "whole": measure_load(given.tickers, given.days),
    }
    if given.json:
        print(json.dumps(found))
    else:
        for name, rate in rates.items():
            print(f"{name:20} {rate:>14,.0f} bars/s")
        print(f"{'ticklake, quotes':20} {found['ticks_per_s']:>14,.0f} ticks/s")
        print(f"profits {profits}")
        print(f"whole   {found['whole']}")
    return 0 if max(profits.values()) - min(profits.values()) < 0.01 else 1


if __name__ == "__main__":
    sys.exit(main())

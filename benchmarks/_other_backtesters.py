"""The moving-average cross in other backtesters, each only where it is installed.

Each takes the same bars, is long one unit while the fast mean is above the slow one, trades at the
next bar's open without costs, and returns its profit and the seconds of the run alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
CASH = 1_000_000.0
T = TypeVar("T")


def targets(closes: Floats, fast: int, slow: int) -> npt.NDArray[np.int8]:
    """Return 1 where the fast mean is above the slow one, by pandas."""
    series = pd.Series(closes)
    return (series.rolling(fast).mean() > series.rolling(slow).mean()).to_numpy().astype(np.int8)


def by_vectorbt(opens: Floats, closes: Floats, fast: int, slow: int) -> tuple[float, float]:
    """Return profit and seconds of vectorbt's Portfolio.from_orders."""
    vectorbt = import_module("vectorbt")

    def run() -> float:
        held = targets(closes, fast, slow)
        size = np.diff(held, prepend=np.int8(0)).astype(np.float64)
        size = np.concatenate([[0.0], size[:-1]])
        portfolio = vectorbt.Portfolio.from_orders(
            pd.Series(closes), size=size, price=opens, init_cash=CASH, freq="1min"
        )
        return float(portfolio.final_value()) - CASH

    run()  # numba compiles once
    return timed(run)


def by_backtesting(opens: Floats, closes: Floats, fast: int, slow: int) -> tuple[float, float]:
    """Return profit and seconds of backtesting.py."""
    backtesting = import_module("backtesting")

    class Cross(backtesting.Strategy):
        def init(self) -> None:
            self.held = self.I(targets, self.data.Close, fast, slow)

        def next(self) -> None:
            if self.held[-1] and not self.position:
                self.buy(size=1)
            elif not self.held[-1] and self.position:
                self.position.close()

    index = pd.date_range("2024-01-01", periods=len(closes), freq="1min")
    high, low = np.maximum(opens, closes), np.minimum(opens, closes)
    frame = pd.DataFrame(
        {"Open": opens, "High": high, "Low": low, "Close": closes, "Volume": 1.0}, index=index
    )
    backtest = backtesting.Backtest(frame, Cross, cash=CASH, finalize_trades=False)
    profit, seconds = timed(lambda: float(backtest.run()["Equity Final [$]"]) - CASH)
    return profit, seconds


def by_nautilus(opens: Floats, closes: Floats, fast: int, slow: int) -> tuple[float, float]:
    """Return profit and seconds of NautilusTrader."""
    nautilus = import_module("_nautilus")
    held = targets(closes, fast, slow).tolist()
    found: tuple[float, float] = nautilus.profit_of(
        opens.tolist(), closes.tolist(), held, CASH, timed
    )
    return found


def timed(run: Callable[[], T]) -> tuple[T, float]:
    """Return what a call returns, and its seconds."""
    begun = time.perf_counter()
    found = run()
    return found, time.perf_counter() - begun


BACKTESTERS: Mapping[str, Callable[[Floats, Floats, int, int], tuple[float, float]]] = {
    "vectorbt": by_vectorbt,
    "backtesting": by_backtesting,
    "nautilus_trader": by_nautilus,
}


def installed() -> dict[str, Callable[[Floats, Floats, int, int], tuple[float, float]]]:
    """Return those that are there."""
    return {name: run for name, run in BACKTESTERS.items() if find_spec(name)}

"""A strategy over a whole series at once, for a sweep of many trials: alike to the last unit.

It holds for strategies that say a target for each bar and trade one instrument at the market; what
is traded goes through the account that the event loop uses, trade by trade, and only what is said
of every bar is done by NumPy. What the event loop would do otherwise (an order larger than a bar's
volume) is not done here: the caller runs that trial through the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_repo.trading.account import Account
from feature_repo.trading.costs import Costs
from feature_repo.trading.market import Instrument
from feature_repo.trading.money import Units, part, times_all, units_of
from feature_repo.trading.order import Fill, Order, Side
from feature_repo.trading.outcome import Outcome, made_of
from feature_repo.trading.simulation import Booked, Placed
from feature_repo.trading.strategy import Strategy
from feature_repo.trading.streams import BAR_COLUMNS, bars_in_turn, times_of

Targets = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Series:
    """One instrument's bars as arrays of one length; times in µs, the rest in units of 1e-10."""

    instrument: Instrument
    start_us: Units
    available_us: Units
    open: Units
    high: Units
    low: Units
    close: Units
    volume: Units


class VectorStrategy(Strategy, Protocol):
    """A strategy that can also say all its targets at once."""

    size: int

    def targets(self, closes: Units) -> Targets:
        """Return for each bar the target after its close: -1, 0 or 1 times the size.

        Element i reads closes up to i; `feature_repo.trading.look_ahead` proves it.
        """


def series_of(rows: pa.Table, instrument: Instrument, width_us: int, delay_us: int) -> Series:
    """Return an instrument's bars that came in turn as arrays, as `bars_of` yields them."""
    rows, known = bars_in_turn(rows, width_us, delay_us)
    values = [units_of(rows[name], name) for name in BAR_COLUMNS]
    return Series(instrument, times_of(rows["event_time"]), known, *values)


def run_series(
    strategy: VectorStrategy, series: Series, *, cash: int, costs: Costs
) -> Outcome | None:
    """Return what the event loop returns for the same; None where only the loop can say it."""
    targets = strategy.targets(series.close)
    changes = np.flatnonzero(np.diff(targets, prepend=np.int8(0)))
    arrivals = series.available_us[changes] + costs.latency_us
    at = np.searchsorted(series.start_us, arrivals, side="left")
    account = Account(cash)
    orders: list[Placed] = []
    fills: list[Booked] = []
    states: list[tuple[int, int, int]] = []
    room_of, room = -1, 0
    for change, bar in zip(changes.tolist(), at.tolist(), strict=True):
        order = _order(strategy, series.instrument, targets, change, len(orders) + 1)
        placed = Placed(order, int(series.available_us[change]))
        orders.append(placed)
        if bar == len(series.start_us):
            continue
        if bar != room_of:
            room_of, room = bar, part(int(series.volume[bar]), costs.participation)
        room -= order.size
        if room < 0:
            return None
        fills.append(_filled(account, order, series, bar, costs))
        placed.state, placed.filled = "filled", order.size
        states.append((bar, account.cash, account.positions.get(series.instrument, 0)))
    return made_of(orders, fills, _moments(series, cash, states))


def _order(
    strategy: VectorStrategy, instrument: Instrument, targets: Targets, at: int, number: int
) -> Order:
    before = int(targets[at - 1]) if at else 0
    step = (int(targets[at]) - before) * strategy.size
    side: Side = "buy" if step > 0 else "sell"
    return Order(instrument, side, abs(step), client_id=f"{strategy.name}-{number}")


def _filled(account: Account, order: Order, series: Series, bar: int, costs: Costs) -> Booked:
    price = costs.taken(order.side, int(series.open[bar]))
    fee = costs.fee(price, order.size, maker=False)
    time_us = int(series.start_us[bar])
    fill = Fill(
        order.client_id, order.instrument, time_us, order.side, price, order.size, fee, maker=False
    )
    return Booked(fill, account.apply(fill))


def _moments(
    series: Series, cash: int, states: Sequence[tuple[int, int, int]]
) -> tuple[Units, Units, Units]:
    """Return times, cash and equity at each moment, from what is held from some bars on.

    Bars of one moment are one: the last of them says what there is.
    """
    after = np.array([(-1, cash, 0), *states], dtype=np.int64)
    last = np.searchsorted(after[:, 0], np.arange(len(series.close)), side="right") - 1
    held, cash_then = after[last, 2], after[last, 1]
    equity = cash_then.copy()
    for size in np.unique(held).tolist():
        if size:
            there = held == size
            equity[there] += times_all(series.close[there], size)
    last_of = np.append(np.diff(series.available_us) > 0, [True])[: len(equity)]
    return series.available_us[last_of], cash_then[last_of], equity[last_of]

"""Strategies: event by event and over a whole series alike, and none that peeks passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.strategies.catalog import STRATEGIES, make
from feature_repo.strategies.mean_reversion import MeanReversion
from feature_repo.strategies.model_signal import ModelSignal
from feature_repo.strategies.moving_average_cross import MovingAverageCross
from feature_repo.trading.account import Account
from feature_repo.trading.costs import Costs
from feature_repo.trading.look_ahead import check_events, check_targets
from feature_repo.trading.market import Bar, Event, Row
from feature_repo.trading.money import UNIT, Units, ppm, units
from feature_repo.trading.order import Order
from feature_repo.trading.outcome import outcome_of
from feature_repo.trading.simulation import Simulation
from feature_repo.trading.strategy import orders_towards
from feature_repo.trading.streams import bars_of, merged
from feature_repo.trading.sweep import Targets, run_series, series_of
from lake.errors import BadInput, WrongUse
from tests.trading.made import BTC, MINUTE_US, NOON_US, bar_rows, flat_bars

CASH = units("1000000")
COSTS = Costs(taker=ppm("5"), half_spread=ppm("1"), slippage=ppm("0.5"))

MADE = st.one_of(
    st.builds(
        lambda fast, more, short: MovingAverageCross(fast, fast + more, short),
        *(st.integers(1, 20), st.integers(1, 20), st.booleans()),
    ),
    st.builds(
        lambda window, leave, more, short: MeanReversion(window, leave + more, leave, short),
        *(st.integers(2, 30), st.floats(0, 1), st.floats(0.1, 2), st.booleans()),
    ),
)


@settings(max_examples=40, deadline=None)
@given(MADE, st.integers(0, 10**6), st.integers(1, 400), st.integers(0, 3 * MINUTE_US))
def test_a_series_at_once_is_what_the_events_give_to_the_last_unit(
    strategy: MovingAverageCross | MeanReversion, seed: int, count: int, latency_us: int
) -> None:
    rows = bar_rows(seed, count)
    costs = Costs(COSTS.maker, COSTS.taker, COSTS.half_spread, COSTS.slippage, latency_us)
    at_once = run_series(strategy, series_of(rows, BTC, MINUTE_US, 0), cash=CASH, costs=costs)
    assert at_once is not None
    by_events = outcome_of(
        Simulation(strategy, cash=CASH, costs=costs).run(bars_of(rows, BTC, MINUTE_US, 0))
    )
    for name, table in by_events.tables().items():
        assert at_once.tables()[name].equals(table), name


def test_what_a_bar_can_not_fill_is_left_to_the_events() -> None:
    rows = bar_rows(1, 300)
    strategy = MovingAverageCross(5, 10, size=units("90"))
    series = series_of(rows, BTC, MINUTE_US, 0)
    assert run_series(strategy, series, cash=CASH, costs=COSTS) is None


class Peeker:
    """Buys before a rise: reads the close that comes next."""

    name: ClassVar[str] = "peeker"
    size = UNIT

    def __init__(self, closes: Sequence[int] = ()) -> None:
        self._closes = closes
        self._at = -1

    def targets(self, closes: Units) -> Targets:
        return np.append(closes[1:] > closes[:-1], False).astype(np.int8)

    def on_event(self, event: Event, account: Account) -> Sequence[Order]:
        if type(event) is not Bar:
            return ()
        self._at += 1
        rises = self._at + 1 < len(self._closes) and self._closes[self._at + 1] > event.close
        return orders_towards(UNIT if rises else 0, BTC, account)


def test_a_strategy_that_peeks_fails() -> None:
    rows = bar_rows(3, 500)
    closes = series_of(rows, BTC, MINUTE_US, 0).close
    with pytest.raises(BadInput, match=r"strategy peeker: peeks: its target of bar \d+ changes"):
        check_targets("peeker", Peeker().targets, closes)
    events = list(bars_of(rows, BTC, MINUTE_US, 0))

    def peeker(seen: Sequence[Event]) -> Peeker:
        return Peeker([each.close for each in seen if type(each) is Bar])

    with pytest.raises(BadInput, match="strategy peeker: peeks: its orders"):
        check_events("peeker", peeker, events, cash=CASH)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "model-signal"])
def test_our_strategies_do_not_peek(name: str) -> None:
    rows = bar_rows(4, 500)
    strategy = make(name, {})
    check_targets(name, strategy.targets, series_of(rows, BTC, MINUTE_US, 0).close)  # type: ignore[attr-defined]
    events = list(bars_of(rows, BTC, MINUTE_US, 0))
    check_events(name, lambda seen: make(name, {}), events, cash=CASH)


def test_a_moving_average_cross_by_hand() -> None:
    """Closes 1 2 3 2 1: mean of 2 against mean of 3: after the third 2.5 > 2, the fifth 1.5 < 2."""
    closes = np.array([1, 2, 3, 2, 1]) * UNIT
    assert MovingAverageCross(2, 3).targets(closes).tolist() == [0, 0, 1, 1, 0]
    assert MovingAverageCross(2, 3, short=True).targets(closes).tolist() == [0, 0, 1, 1, -1]


def test_a_mean_reversion_by_hand() -> None:
    """10 10 10 4: mean 8.5, deviation 2.598, z = -1.732; then 10: mean 8.5, z = 0.577."""
    closes = np.array([10, 10, 10, 4, 10, 10]) * UNIT
    assert MeanReversion(4, enter=1.7).targets(closes).tolist() == [0, 0, 0, 1, 0, 0]
    assert MeanReversion(4, enter=1.8).targets(closes).tolist() == [0] * 6
    assert MeanReversion(4, 0.5, 0.1, short=True).targets(closes).tolist() == [0, 0, 0, 1, -1, -1]


def test_a_model_s_signal_follows_predictions_from_when_they_are_known() -> None:
    said = [0.5, 0.1, -0.1, None, -0.9]
    rows = [
        Row(BTC, at, at, {} if value is None else {"prediction": value})
        for n, value in enumerate(said)
        if (at := NOON_US + (n + 1) * MINUTE_US)
    ]
    bars = flat_bars(["10", "11", "12", "13", "14", "15"])
    strategy = ModelSignal(enter=0.3, short=True)
    record = Simulation(strategy, cash=CASH).run(merged([bars, rows]))
    assert [(each.fill.side, each.fill.price // UNIT) for each in record.fills] == [
        ("buy", 11),
        ("sell", 13),
        ("sell", 15),
    ]


def test_strategies_are_made_by_name_from_words() -> None:
    made = make("moving-average-cross", {"fast": "5", "slow": "9", "short": "yes", "size": "0.5"})
    assert made == MovingAverageCross(5, 9, True, UNIT // 2)
    for name, given_, fault in (
        ("no", {}, "there is none: one of buy-and-hold"),
        ("mean-reversion", {"fast": "1"}, "is none of mean-reversion: it takes window, enter"),
        ("mean-reversion", {"window": "x"}, "window=x: is no int"),
        ("mean-reversion", {"window": "1"}, "window=1: is none"),
        ("mean-reversion", {"leave": "9"}, "0 <= leave < enter"),
        ("moving-average-cross", {"fast": "50"}, "0 < fast < slow"),
        ("moving-average-cross", {"short": "maybe"}, "short=maybe: is no bool"),
        ("model-signal", {"leave": "1"}, "0 <= leave <= enter"),
    ):
        with pytest.raises(WrongUse, match=fault):
            make(name, given_)

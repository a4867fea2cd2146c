"""Figures with known answers; the deflated Sharpe ratio is held against its paper."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.trading.money import UNIT
from feature_repo.trading.statistics import (
    DAY_US,
    Figures,
    deflated_sharpe,
    drawdowns,
    expected_best,
    figures,
    moments,
    period_returns,
    probabilistic_sharpe,
)

YEAR = 250


def test_the_example_of_bailey_and_lopez_de_prado() -> None:
    """The Deflated Sharpe Ratio (2014), "A numerical example": SR 2.5 a year over 1,250 days.

    Skew -3, kurtosis 10, variance of the trials' annual ratios 1/2; 100 trials give an expected
    best of 0.1132 a day and a DSR of 0.9004, 46 trials 0.9505; with normal returns 88 would do.
    """
    best = expected_best(0.5 / YEAR, 100)
    assert best == pytest.approx(0.1132, abs=5e-5)
    daily = 2.5 / YEAR**0.5
    assert probabilistic_sharpe(daily, best, 1_250, -3, 10) == pytest.approx(0.9004, abs=5e-5)
    fewer = expected_best(0.5 / YEAR, 46)
    assert probabilistic_sharpe(daily, fewer, 1_250, -3, 10) == pytest.approx(0.9505, abs=1e-4)
    normal = expected_best(0.5 / YEAR, 88)
    assert probabilistic_sharpe(daily, normal, 1_250, 0, 3) == pytest.approx(0.9505, abs=1e-3)


def test_one_trial_is_not_deflated_and_more_trials_are_worth_less() -> None:
    chosen = Figures(0.1, 0.1, 0.1, 1.6, 0.1, 0.0, 3.0, 250, 0.1)
    one = deflated_sharpe(chosen, [0.1])
    assert one == probabilistic_sharpe(0.1, 0.0, 250, 0.0, 3.0)
    few = deflated_sharpe(chosen, [0.1, 0.0, -0.1, 0.05])
    many = deflated_sharpe(chosen, [0.1, 0.0, -0.1, 0.05] * 10)
    assert one > few > many > 0


def test_days_are_the_period_of_a_long_curve() -> None:
    """100, 110 and 121 at the ends of three days, whatever was between: 10 % a day twice."""
    days = np.repeat(np.arange(30), 2)
    times = days * DAY_US + np.tile([1, 2], 30)
    equity = np.repeat(100 * 1.1 ** np.arange(30), 2) * UNIT
    equity[::2] *= 0.7
    returns, per_year = period_returns(times.astype(np.int64), equity.astype(np.int64))
    assert returns[2:] == pytest.approx(0.1)
    assert per_year == pytest.approx(365.25, rel=0.05)


def test_moments_of_two_values() -> None:
    sharpe, skew, kurtosis = moments(np.array([0.02, -0.01] * 50))
    assert (sharpe, skew) == (pytest.approx(0.005 / 0.015, rel=1e-2), pytest.approx(0, abs=1e-9))
    assert kurtosis == pytest.approx(1)
    assert moments(np.zeros(5)) == (0.0, 0.0, 3.0)


def test_the_deepest_fall_from_a_peak() -> None:
    equity = np.array([100, 120, 60, 90, 130]) * UNIT
    assert drawdowns(equity).tolist() == pytest.approx([0, 0, 0.5, 0.25, 0])
    found = figures(np.arange(5) * DAY_US, equity)
    assert (found.drawdown, found.total) == (pytest.approx(0.5), pytest.approx(0.3))


def test_a_curve_without_length_has_no_figures() -> None:
    empty = np.empty(0, np.int64)
    assert figures(empty, empty).total == 0.0
    flat = figures(np.arange(3) * DAY_US, np.full(3, UNIT))
    assert (flat.sharpe, flat.total, flat.drawdown) == (0.0, 0.0, 0.0)

"""Figures of an equity curve, and the guard against the best of many trials.

Floats, from exact amounts; none of them is part of a result's hash.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from feature_repo.trading.money import Units

Floats = npt.NDArray[np.float64]

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
YEAR_US = 365.25 * DAY_US
PERIODS_MIN = 20
"""A span of fewer days is looked at by the hour, of fewer hours by the moment."""

EULER_MASCHERONI = 0.5772156649015329
NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Figures:
    """total: return of the whole span, as the rest a ratio. sharpe: annual, of excess over 0.

    period_sharpe: of one period; skew and kurtosis (3 for a normal distribution) of its returns;
    periods: how many. drawdown: the deepest fall from a peak, 0 to 1.
    """

    total: float
    annual: float
    volatility: float
    sharpe: float
    period_sharpe: float
    skew: float
    kurtosis: float
    periods: int
    drawdown: float


def figures(times_us: Units, equity: Units) -> Figures:
    """Return the figures of an equity curve; all zero where it never moves or has no length."""
    returns, per_year = period_returns(times_us, equity)
    total = float(equity[-1] / equity[0] - 1) if len(equity) else 0.0
    years = (int(times_us[-1]) - int(times_us[0])) / YEAR_US if len(equity) else 0.0
    sharpe, skew, kurtosis = moments(returns)
    return Figures(
        total=total,
        annual=(1 + total) ** (1 / years) - 1 if years and total > -1 else 0.0,
        volatility=float(returns.std()) * math.sqrt(per_year) if len(returns) else 0.0,
        sharpe=sharpe * math.sqrt(per_year),
        period_sharpe=sharpe,
        skew=skew,
        kurtosis=kurtosis,
        periods=len(returns),
        drawdown=float(drawdowns(equity).max(initial=0.0)),
    )


def period_returns(times_us: Units, equity: Units) -> tuple[Floats, float]:
    """Return the returns of each day (hour, moment where the span is short), and how many a year.

    The equity of a period is its last; a period without a moment is left out.
    """
    if len(equity) < 2:
        return np.empty(0), 0.0
    span = int(times_us[-1]) - int(times_us[0])
    period = next((each for each in (DAY_US, HOUR_US) if span >= PERIODS_MIN * each), 1)
    buckets = times_us // period
    last = np.append(np.flatnonzero(np.diff(buckets)), len(equity) - 1)
    values = np.concatenate([equity[:1], equity[last]]).astype(np.float64)
    returns = values[1:] / values[:-1] - 1
    return returns, len(returns) * YEAR_US / span


def moments(returns: Floats) -> tuple[float, float, float]:
    """Return Sharpe ratio, skew and kurtosis of returns; 0, 0, 3 where they never differ."""
    spread = float(returns.std()) if len(returns) else 0.0
    if len(returns) < 2 or spread <= 1e-15:
        return 0.0, 0.0, 3.0
    standard = (returns - returns.mean()) / spread
    sharpe = float(returns.mean()) / float(returns.std(ddof=1))
    return sharpe, float((standard**3).mean()), float((standard**4).mean())


def drawdowns(equity: Units) -> Floats:
    """Return how far each value lies below the highest before it, 0 to 1."""
    values = equity.astype(np.float64)
    peaks = np.maximum.accumulate(values) if len(values) else values
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(peaks > 0, 1 - values / peaks, 0.0)


def expected_best(variance: float, trials: int) -> float:
    """Return the Sharpe ratio that the best of so many trials without skill is expected to have.

    variance: of the trials' Sharpe ratios, in the same period. Bailey and Lopez de Prado, "The
    Deflated Sharpe Ratio", 2014, equation 1; 0 for a single trial.
    """
    if trials < 2:
        return 0.0
    first = NORMAL.inv_cdf(1 - 1 / trials)
    second = NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    gamma = EULER_MASCHERONI
    return math.sqrt(variance) * ((1 - gamma) * first + gamma * second)


def probabilistic_sharpe(
    sharpe: float, against: float, periods: int, skew: float, kurtosis: float
) -> float:
    """Return the probability that the true Sharpe ratio is above `against`; all in one period.

    Bailey and Lopez de Prado, "The Sharpe Ratio Efficient Frontier", 2012. 0 where there are
    fewer than 2 periods.
    """
    below = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if periods < 2 or below <= 0:
        return 0.0
    return NORMAL.cdf((sharpe - against) * math.sqrt(periods - 1) / math.sqrt(below))


def deflated_sharpe(chosen: Figures, trials: Sequence[float]) -> float:
    """Return the probability that a chosen trial has skill, after so many were tried.

    trials: the period Sharpe ratios of all, the chosen one's too. Bailey and Lopez de Prado, "The
    Deflated Sharpe Ratio", 2014, equation 2.
    """
    variance = float(np.var(trials, ddof=1)) if len(trials) > 1 else 0.0
    return probabilistic_sharpe(
        chosen.period_sharpe,
        expected_best(variance, len(trials)),
        chosen.periods,
        chosen.skew,
        chosen.kurtosis,
    )

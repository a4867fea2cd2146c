"""How much of each asset to hold: mean-variance, minimum variance, risk parity.

Solved by SciPy's SLSQP, which comes with scikit-learn: problems are of tens of assets, smooth and
convex, and the answers are held against closed forms by test. cvxpy would bring four solvers
and their binaries for no other answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from sklearn.covariance import LedoitWolf

from lake.errors import BadInput, WrongUse

Floats = npt.NDArray[np.float64]

ITERATIONS_MAX = 1_000
TOLERANCE = 1e-14
SLACK = 1e-6
"""How far a solution may miss a constraint."""

ASSETS_MAX = 500


@dataclass(frozen=True, slots=True)
class Constraints:
    """Bounds of weights, all inclusive; weights add up to 1.

    lowest, highest: of each weight; lowest below 0 allows shorts. groups: (places of assets, at
    most so much of all together), as a cluster of the correlation network.
    """

    lowest: float = 0.0
    highest: float = 1.0
    groups: tuple[tuple[tuple[int, ...], float], ...] = field(default_factory=tuple)

    def check(self, assets: int) -> None:
        """Raise WrongUse where no weights can satisfy them."""
        if not 0 < assets <= ASSETS_MAX:
            raise WrongUse(f"{assets} assets", "are too few or too many", f"1 to {ASSETS_MAX}")
        if not self.lowest <= self.highest:
            raise WrongUse("weights", "lowest is above highest", "turn them round")
        if assets * self.lowest > 1 + SLACK or assets * self.highest < 1 - SLACK:
            fault = f"{assets} of {self.lowest} to {self.highest} can't add up to 1"
            raise WrongUse("weights", fault, "give wider bounds")


def shrunk_covariance(returns: Floats) -> Floats:
    """Return the covariance of returns (times x assets), shrunk by Ledoit and Wolf.

    "A well-conditioned estimator for large-dimensional covariance matrices", 2004. Per period.
    BadInput where a return is missing or infinite, or there are fewer than two.
    """
    if len(returns) < 2 or not np.isfinite(returns).all():
        raise BadInput("returns", "are too few, or not all numbers", "choose another window")
    found: Floats = LedoitWolf().fit(returns).covariance_
    return found


def minimum_variance(covariance: Floats, constraints: Constraints | None = None) -> Floats:
    """Return the weights of the least variance."""
    scaled = covariance / _scale(covariance)
    return _solved(
        lambda w: float(w @ scaled @ w), lambda w: 2 * scaled @ w, len(covariance), constraints
    )


def mean_variance(
    means: Floats, covariance: Floats, risk_aversion: float, constraints: Constraints | None = None
) -> Floats:
    """Return the weights that maximise mean - risk_aversion / 2 * variance (Markowitz 1952)."""
    if risk_aversion <= 0:
        raise WrongUse(f"risk aversion {risk_aversion}", "is not above zero", "1 to 10 is usual")
    scale = risk_aversion * _scale(covariance)
    matrix, gains = covariance * (risk_aversion / scale), means / scale
    return _solved(
        lambda w: float(w @ matrix @ w / 2 - gains @ w),
        lambda w: matrix @ w - gains,
        len(covariance),
        constraints,
    )


def risk_parity(covariance: Floats, constraints: Constraints | None = None) -> Floats:
    """Return long-only weights of which each brings the same share of the variance.

    By Maillard, Roncalli and Teiletche, 2010, in the convex form of Spinu, 2013: the minimum of
    x' C x / 2 - sum(ln x) / n, scaled to 1. With constraints that bind the shares differ, by as
    little as their squares allow.
    """
    constraints = constraints or Constraints()
    count = len(covariance)
    constraints.check(count)
    scaled = covariance / _scale(covariance)
    found = minimize(
        lambda x: float(x @ scaled @ x / 2 - np.log(x).sum() / count),
        np.full(count, 1.0),
        jac=lambda x: scaled @ x - 1 / (count * x),
        method="SLSQP",
        bounds=[(1e-9, None)] * count,
        options={"maxiter": ITERATIONS_MAX, "ftol": TOLERANCE},
    )
    weights = np.asarray(found.x / found.x.sum())
    if _satisfied(weights, constraints):
        return weights
    return _solved(
        lambda w: float(((_shares(w, scaled) - 1 / count) ** 2).sum()),
        None,
        count,
        constraints,
        start=weights,
    )


def risk_shares(weights: Floats, covariance: Floats) -> Floats:
    """Return each asset's share of the variance; they add up to 1."""
    return _shares(weights, covariance)


def _shares(weights: Floats, covariance: Floats) -> Floats:
    parts = weights * (covariance @ weights)
    return np.asarray(parts / parts.sum())


def _solved(
    cost: Callable[[Floats], float],
    slope: Callable[[Floats], Floats] | None,
    count: int,
    constraints: Constraints | None,
    start: Floats | None = None,
) -> Floats:
    constraints = constraints or Constraints()
    constraints.check(count)
    rules = [{"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}]
    for places, most in constraints.groups:
        member = np.zeros(count)
        member[list(places)] = 1.0
        rules.append(
            {
                "type": "ineq",
                "fun": lambda w, member=member, most=most: most - member @ w,
                "jac": lambda w, member=member: -member,
            }
        )
    found = minimize(
        cost,
        np.full(count, 1 / count) if start is None else start,
        jac=slope,
        method="SLSQP",
        bounds=[(constraints.lowest, constraints.highest)] * count,
        constraints=rules,
        options={"maxiter": ITERATIONS_MAX, "ftol": TOLERANCE},
    )
    weights: Floats = np.clip(np.asarray(found.x), constraints.lowest, constraints.highest)
    if not _satisfied(weights, constraints):
        raise BadInput("constraints", "no weights satisfy them all", "allow the groups more")
    return weights


def _satisfied(weights: Floats, constraints: Constraints) -> bool:
    within = (weights >= constraints.lowest - SLACK) & (weights <= constraints.highest + SLACK)
    return (
        bool(within.all())
        and abs(float(weights.sum()) - 1) <= SLACK
        and all(float(weights[list(p)].sum()) <= most + SLACK for p, most in constraints.groups)
    )


def _scale(covariance: Floats) -> float:
    """Return the mean variance: variances of minutes are so small that SLSQP would stop at once."""
    return float(np.trace(covariance)) / len(covariance) or 1.0

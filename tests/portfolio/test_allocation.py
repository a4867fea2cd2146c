"""Issue 6, part 11: allocations against their closed forms, and constraints that hold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.portfolio.allocation import (
    Constraints,
    mean_variance,
    minimum_variance,
    risk_parity,
    risk_shares,
    shrunk_covariance,
)
from lake.errors import BadInput, WrongUse

FREE = Constraints(-10.0, 10.0)
SHORT_AND_LONG = st.integers(2, 6)


def covariance(seed: int, count: int, scale: float = 1e-6) -> npt.NDArray[np.float64]:
    chance = np.random.default_rng(seed)
    factors = chance.normal(size=(count, count + 2))
    return np.asarray(scale * (factors @ factors.T) / count)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), SHORT_AND_LONG)
def test_minimum_variance_is_the_inverse_s_row_sums(seed: int, count: int) -> None:
    """w = C^-1 1 / (1' C^-1 1), where nothing binds."""
    matrix = covariance(seed, count)
    whole = np.linalg.inv(matrix).sum(axis=1)
    expected = whole / whole.sum()
    if np.abs(expected).max() < 5:
        assert minimum_variance(matrix, FREE) == pytest.approx(expected, abs=1e-5)


def test_two_assets_by_hand() -> None:
    """Deviations 10 % and 20 %, uncorrelated: 0.04 / 0.05 of the first; parity goes by 1 / s."""
    matrix = np.diag([0.01, 0.04])
    assert minimum_variance(matrix) == pytest.approx([0.8, 0.2], abs=1e-6)
    assert risk_parity(matrix) == pytest.approx([2 / 3, 1 / 3], abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), SHORT_AND_LONG)
def test_mean_variance_satisfies_its_first_order_condition(seed: int, count: int) -> None:
    """means - a C w is the same for every asset, where nothing binds."""
    matrix = covariance(seed, count, 1e-4)
    means = np.random.default_rng(seed + 1).normal(0, 1e-5, count)
    weights = mean_variance(means, matrix, 4.0, FREE)
    if np.abs(weights).max() < 9:
        slopes = means - 4.0 * matrix @ weights
        assert slopes == pytest.approx(np.full(count, slopes.mean()), abs=1e-3 * np.trace(matrix))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.sampled_from([1e-8, 1e-4, 1.0]))
def test_risk_parity_gives_each_asset_the_same_share(seed: int, count: int, scale: float) -> None:
    matrix = covariance(seed, count, scale)
    weights = risk_parity(matrix)
    assert risk_shares(weights, matrix) == pytest.approx(np.full(count, 1 / count), abs=1e-4)
    assert weights.sum() == pytest.approx(1)


def test_constraints_hold() -> None:
    matrix = np.diag([0.01, 0.01, 0.04, 0.09])
    bound = Constraints(0.05, 0.5, groups=(((0, 1), 0.6),))
    for weights in (
        minimum_variance(matrix, bound),
        mean_variance(np.array([0.1, 0.1, 0.0, 0.0]), matrix, 1.0, bound),
        risk_parity(matrix, bound),
    ):
        assert weights.sum() == pytest.approx(1)
        assert weights.min() >= 0.05 - 1e-6
        assert weights[:2].sum() <= 0.6 + 1e-6
    assert minimum_variance(matrix, bound)[:2].sum() == pytest.approx(0.6, abs=1e-5)
    with pytest.raises(WrongUse, match="can't add up to 1"):
        minimum_variance(matrix, Constraints(0.0, 0.2))
    with pytest.raises(BadInput, match="no weights satisfy"):
        minimum_variance(matrix, Constraints(groups=(((0, 1), 0.4), ((2, 3), 0.4))))
    with pytest.raises(WrongUse, match="not above zero"):
        mean_variance(np.zeros(4), matrix, 0.0)


def test_few_returns_are_shrunk_towards_what_can_be_inverted() -> None:
    """Ten returns of thirty assets: the sample's matrix is singular, the shrunk one is not."""
    returns = np.random.default_rng(1).normal(0, 0.01, (10, 30))
    found = shrunk_covariance(returns)
    assert np.linalg.matrix_rank(np.cov(returns.T)) < 30
    assert np.linalg.cond(found) < 1e3
    assert minimum_variance(found).sum() == pytest.approx(1)
    with pytest.raises(BadInput, match="not all numbers"):
        shrunk_covariance(np.array([[1.0], [np.nan]]))

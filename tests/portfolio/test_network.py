"""Issue 6, part 11: correlations, leads and clusters of series that were made to have them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.portfolio.network import clusters, correlations, edges, in_order, log_returns

CHANCE = np.random.default_rng(7)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(30, 80), st.floats(0, 0.2))
def test_correlations_are_numpy_s_over_what_both_have(seed: int, count: int, away: float) -> None:
    chance = np.random.default_rng(seed)
    returns = chance.normal(0, 0.01, (count, 4))
    returns[chance.random(returns.shape) < away] = np.nan
    found, both = correlations(returns)
    for i in range(4):
        for j in range(4):
            there = ~np.isnan(returns[:, i]) & ~np.isnan(returns[:, j])
            assert both[i, j] == there.sum()
            if there.sum() >= 20:
                expected = np.corrcoef(returns[there, i], returns[there, j])[0, 1]
                assert found[i, j] == pytest.approx(expected, abs=1e-9)
            else:
                assert np.isnan(found[i, j])


def test_who_leads_and_by_how_many_bars_is_found() -> None:
    leader = CHANCE.normal(0, 0.01, 500)
    follower = np.concatenate([CHANCE.normal(0, 0.01, 3), leader[:-3]])
    follower = follower + CHANCE.normal(0, 0.001, 500)
    (found,) = edges(np.column_stack([leader, follower]))
    assert (found.lag, found.bars) == (3, 500)
    assert found.lag_correlation > 0.95 > 0.2 > abs(found.correlation)
    (turned,) = edges(np.column_stack([follower, leader]))
    assert turned.lag == -3


def test_clusters_are_the_groups_that_move_together() -> None:
    groups = [CHANCE.normal(0, 0.01, 400) for _ in range(3)]
    members = [0, 1, 0, 2, 1, 2, 0]
    returns = np.column_stack([groups[g] + CHANCE.normal(0, 0.003, 400) for g in members])
    assert clusters(correlations(returns)[0]) == [1, 2, 1, 3, 2, 3, 1]
    assert clusters(np.ones((1, 1))) == [1]
    assert in_order([7, 3, 7, 1]) == [1, 2, 1, 3]


def test_a_return_needs_both_closes_and_one_that_never_moves_has_no_edge() -> None:
    closes = np.array([[1.0, 2.0], [2.0, np.nan], [4.0, 8.0]])
    found = log_returns(closes)
    assert found[:, 0] == pytest.approx([np.log(2)] * 2)
    assert np.isnan(found[:, 1]).all()
    still = np.column_stack([np.zeros(50), CHANCE.normal(0, 1, 50)])
    assert edges(still) == []

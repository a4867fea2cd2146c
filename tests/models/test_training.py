"""Issue 6, parts 5, 7, 9: what forbids to train; the same bits twice; what tests and SHAP say."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ks_2samp

from feature_repo.models.drift import ROWS_MIN, drift, profile_of, profiles_of, psi
from feature_repo.models.learner import confidence, prediction
from feature_repo.models.promotion import Criteria, decide
from feature_repo.models.rows import rows_of
from feature_repo.models.training import train
from feature_repo.models.trees import TreeRecipe, judged, read_trees
from lake.errors import BadInput
from tests.models.trading_rows import FEATURES, MINUTE_US, changed, training_rows

RECIPE = TreeRecipe(rounds=80, patience=10)


def test_a_model_finds_what_there_is_to_find_and_nothing_in_noise() -> None:
    trained = train(rows_of(training_rows(), FEATURES), RECIPE)
    assert trained.metrics["correlation"] > 0.4
    assert trained.metrics["hit_rate"] > 0.6
    assert len(trained.folds) == 4
    noise = train(rows_of(training_rows(strength=0.0), FEATURES), RECIPE)
    assert abs(noise.metrics["correlation"]) < 0.1
    assert noise.metrics["rounds"] < RECIPE.rounds / 2  # early stopping saw that nothing is gained


def test_the_same_rows_and_seed_give_the_same_bytes() -> None:
    rows = rows_of(training_rows(1_000), FEATURES)
    first, second = (train(rows, RECIPE, folds=2).model for _ in range(2))
    assert first.hash == second.hash
    assert first.text == second.text
    other = train(rows, TreeRecipe(rounds=80, patience=10, seed=1), folds=2).model
    assert other.hash != first.hash


def test_explanations_add_up_to_the_score_and_name_the_feature_that_tells() -> None:
    rows = rows_of(training_rows(), FEATURES)
    model = train(rows, RECIPE, folds=2).model
    parts = model.explain(rows.features)
    raw = np.asarray(model.booster.predict(rows.features, raw_score=True))
    np.testing.assert_allclose(parts.sum(axis=1), raw[:, 2] - raw[:, 0], atol=1e-9)
    weights = np.abs(parts[:, :-1]).mean(axis=0)
    assert weights.argmax() == 0
    assert weights[0] > 5 * weights[1:].max()


def test_a_prediction_is_up_less_down_and_a_model_of_other_features_is_refused() -> None:
    rows = rows_of(training_rows(1_000), FEATURES)
    model = train(rows, RECIPE, folds=2).model
    said = model.probabilities(rows.features)
    assert np.all(np.abs(prediction(said)) <= confidence(said))
    assert 0 < judged(said, rows)["log_loss"] < np.log(3)
    with pytest.raises(BadInput, match=r"not rsi_14, noise_a"):
        read_trees(model.text, FEATURES[:2])
    with pytest.raises(BadInput, match="takes 3 features"):
        model.probabilities(rows.features[:, :2])
    with pytest.raises(BadInput, match="1 values are NaN or infinite"):
        model.probabilities(np.array([[0.0, np.nan, 1.0]]))


def test_rows_before_a_lookback_are_left_out_and_counted() -> None:
    table = training_rows(500)
    early = [None if n < 20 else value for n, value in enumerate(table["noise_a"].to_pylist())]
    rows = rows_of(changed(table, "noise_a", early), FEATURES)
    assert rows.dropped == 20
    assert len(rows.side) == 480


def test_what_is_no_number_is_counted_and_refused() -> None:
    table = training_rows(500)
    values = table["noise_a"].to_numpy().copy()
    values[3:5], values[9] = np.nan, np.inf
    with pytest.raises(BadInput, match="noise_a 2 NaN and 1 infinite"):
        rows_of(changed(table, "noise_a", values), FEATURES)


def test_a_feature_that_has_seen_the_future_is_named() -> None:
    table = training_rows(500)
    peek = table["label_value"].to_numpy() + 1e-6
    with pytest.raises(BadInput, match=r"noise_b \(1\.000\)"):
        rows_of(changed(table, "noise_b", peek), FEATURES)


def shifted(table: pa.Table, name: str, by_us: int) -> pa.Table:
    moved = table[name].cast(pa.int64()).to_numpy() + by_us
    return changed(table, name, pa.array(moved, pa.timestamp("us", "UTC")))


@pytest.mark.parametrize(
    ("name", "by_us", "said"),
    [
        ("label_available_time", -2_000_000, "known before their end"),
        ("label_end_time", -5 * MINUTE_US, "end at their row"),
        ("available_time", 6 * MINUTE_US, "no sooner than their labels"),
    ],
)
def test_times_that_contradict_each_other_are_refused(name: str, by_us: int, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        rows_of(shifted(training_rows(500), name, by_us), FEATURES)


def test_labels_out_of_balance_rows_too_few_and_columns_missing_are_said() -> None:
    table = training_rows(500)
    one = np.ones(500, np.int16)
    with pytest.raises(BadInput, match="out of balance"):
        rows_of(changed(table, "label_side", one), FEATURES)
    one[:2] = -1
    with pytest.raises(BadInput, match=r"-1: 0\.40%"):
        rows_of(changed(table, "label_side", one), FEATURES)
    with pytest.raises(BadInput, match="200 are needed"):
        rows_of(table.slice(0, 100), FEATURES)
    with pytest.raises(BadInput, match="have no macd"):
        rows_of(table, ("macd",))


def test_drift_is_nothing_for_the_same_and_large_for_a_shift() -> None:
    chance = np.random.default_rng(3)
    then, now = chance.normal(size=(2, 20_000))
    profile = profiles_of({"x": profile_of(then).document()})["x"]
    same, moved = drift(profile, now), drift(profile, now + 1.0)
    assert same is not None
    assert moved is not None
    assert same.psi < 0.01
    assert not same.large
    assert moved.large
    for found, values in ((same, now), (moved, now + 1.0)):
        assert found.ks == pytest.approx(ks_2samp(then, values).statistic, abs=0.002)
    assert drift(profile, now[: ROWS_MIN - 1]) is None
    with pytest.raises(BadInput, match="NaN"):
        drift(profile, np.full(ROWS_MIN, np.nan))


def test_psi_by_hand() -> None:
    """Two values, half each, that become a quarter and three: d * ln(odds now / odds then)."""
    then = profile_of(np.repeat([0.0, 1.0], [501, 499]))
    was, now = (then.quantiles >= 1.0).mean(), 0.75
    by_hand = (now - was) * np.log(now / (1 - now) / (was / (1 - was)))
    assert psi(then, np.repeat([0.0, 1.0], [250, 750])) == pytest.approx(by_hand)
    assert by_hand == pytest.approx(0.25 * np.log(3), rel=0.02)


CHALLENGER = {"log_loss": 0.98, "correlation": 0.05, "rows": 5_000.0}


@pytest.mark.parametrize(
    ("other", "champion", "promoted"),
    [
        ({}, None, True),
        ({}, {"log_loss": 1.0}, True),
        ({}, {"log_loss": 0.98}, False),  # no better is not enough
        ({"correlation": -0.01}, None, False),
        ({"rows": 999.0}, None, False),
    ],
)
def test_promotion_goes_by_its_criteria(
    other: dict[str, float], champion: dict[str, float] | None, promoted: bool
) -> None:
    rival = {**CHALLENGER, **champion} if champion else None
    decision = decide({**CHALLENGER, **other}, rival, Criteria())
    assert decision.promote is promoted
    assert any("NOT met" in each for each in decision.reasons) is not promoted


def test_numbers_of_two_releases_are_not_compared() -> None:
    with pytest.raises(BadInput, match="two releases"):
        decide(CHALLENGER, CHALLENGER, Criteria(), same_release=False)
    with pytest.raises(BadInput, match="lack log_loss"):
        decide({"correlation": 1.0, "rows": 1.0}, None, Criteria())

"""Issue 7, part 3: a version that fails, is late or has no whole row never makes a guess."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from infra.servers.process import wait_until
from lake.clock import ManualClock, SystemClock
from lake.contracts.contract import load
from lake.errors import BadInput, Unavailable
from serving.signals.loaded import ANSWER_MS_MAX
from serving.signals.models import InUse, Seat
from serving.signals.prediction import Prediction, as_told, of_told
from serving.signals.route import BANDIT, CANARY, Outcomes, Route
from serving.signals.scoring import beside, decided, is_fresh, outcomes_of
from tests.signals.in_use import START_US, Line, in_use, told, version

CLOCK = ManualClock(START_US + 1_000_000)
ROWS = [told(n) for n in range(40)]
HALF = Route(CANARY, 0.5)


def said(use: InUse) -> list[Prediction]:
    return decided(use, ROWS, {}, CLOCK)[0]


def test_the_champion_says_all_where_nothing_else_is_set() -> None:
    found = said(in_use(champion=version(1), challenger=version(2), shadow=version(3)))
    assert {(each.version, each.role, each.fallback) for each in found} == {("1", "champion", "")}
    by_ticker = {each.instrument: each for each in found}
    for row in ROWS:
        up = 0.4 + 0.1 * np.tanh(row.values["return_1"])
        assert by_ticker[row.instrument].prediction == pytest.approx(2 * up - 0.8)
        assert by_ticker[row.instrument].known_us == row.known_us


def test_a_canary_splits_and_all_speak_once_beside() -> None:
    use = in_use(HALF, champion=version(1), challenger=version(2), shadow=version(3))
    found, spoken = decided(use, ROWS, {}, CLOCK)
    roles = [each.role for each in found]
    assert set(roles) == {"champion", "challenger"}
    assert len({each.instrument for each in found}) == len(found) == len(ROWS)
    every = [*spoken, *beside(use, ROWS, spoken, CLOCK)]
    table = pa.concat_tables([each.table() for each in every])
    keys = set(zip(table["model_version"].to_pylist(), table["ticker"].to_pylist(), strict=True))
    assert len(keys) == table.num_rows == 3 * len(ROWS)
    assert set(table.column_names) == set(load("model_predictions").names) - {"row_no"}
    assert set(table["source"].to_pylist()) == {"live"}
    assert table["contributions"].null_count == table.num_rows
    assert spoken[0].explained().table()["contributions"].null_count == 0


def test_a_challenger_that_fails_is_stood_in_for_by_the_champion() -> None:
    broken = version(2, line := Line())
    line.fails = True
    found = said(in_use(HALF, champion=version(1), challenger=broken))
    assert {each.role for each in found} == {"champion"}
    reasons = {each.fallback for each in found}
    assert reasons == {"", "line: is out of order"}
    assert {each.role for each in said(in_use(HALF, champion=version(1)))} == {"champion"}
    assert "direction has no challenger" in {
        e.fallback for e in said(in_use(HALF, champion=version(1)))
    }


def test_a_champion_that_hangs_is_stood_in_for_by_the_one_before_and_recovers() -> None:
    slow = version(2, line := Line(2.0), answer_ms_max=ANSWER_MS_MAX)
    line.is_hanging = True
    use = in_use(champion=Seat(2, slow, version(1)))
    for _ in range(2):  # the second finds it still at work
        found = said(use)
        assert {each.version for each in found} == {"1"}
        assert len(found) == len(ROWS)
        assert "direction 2" in found[0].fallback
    assert said(in_use(champion=Seat(2, slow))) == []  # with nobody before: none, and no guess
    line.is_hanging = False
    line.hangs.set()
    slow.probabilities(np.zeros((1, 2)), 60_000)
    assert wait_until(
        SystemClock(), lambda: {each.version for each in said(use)} == {"2"}, 60
    )  # at the first try, where the machine is not busy


def test_what_goes_on_for_a_version_that_can_t_be_used_says_so() -> None:
    found = said(in_use(champion=Seat(5, version(4), None, "direction 5: is not the model")))
    assert {(each.version, each.fallback) for each in found} == {
        ("4", "direction 5: is not the model")
    }


@pytest.mark.parametrize(
    "more",
    [
        {"degraded": frozenset({"rsi_14"})},
        {"values": {"return_1": 0.1, "rsi_14": None}},
        {"values": {"return_1": 0.1}},
        {"values": {"return_1": float("nan"), "rsi_14": 1.0}},
    ],
    ids=["degraded", "null", "missing", "nan"],
)
def test_a_row_that_is_not_whole_is_not_scored(more: dict[str, object]) -> None:
    use = in_use(champion=version(1), challenger=version(2))
    found, spoken = decided(use, [told(1, **more)], {}, CLOCK)
    assert (found, spoken, list(beside(use, [told(1, **more)], [], CLOCK))) == ([], [], [])


def test_a_degraded_feature_that_a_version_does_not_take_is_nothing_to_it() -> None:
    rows = [told(1, degraded=frozenset({"sma_20"}))]
    assert len(decided(in_use(champion=version(1)), rows, {}, CLOCK)[0]) == 1


def test_a_version_speaks_of_the_tickers_that_it_was_trained_on() -> None:
    one = version(1, source={"interval": "1m", "tickers": ["X:C3USD"]})
    assert [each.instrument.ticker for each in said(in_use(champion=one))] == ["X:C3USD"]


def test_fresh_is_of_now() -> None:
    now_us = START_US + 1_000_000
    assert is_fresh(told(), now_us)
    assert not is_fresh(told(), now_us + 120_000_000)
    assert not is_fresh(told(known_us=now_us + 1), now_us)


def test_a_bandit_s_arms_are_versions_so_a_new_one_begins_anew() -> None:
    use = in_use(Route(BANDIT), champion=version(1), challenger=version(2))
    seen = {1: Outcomes(5, 3), 7: Outcomes(9, 9)}
    assert outcomes_of(use, seen) == {"champion": Outcomes(5, 3), "challenger": Outcomes()}


@pytest.mark.parametrize(
    "facts",
    [
        {"source": None},
        {"learner": "of nobody"},
        {"source": {"interval": "1h", "tickers": []}},
        {"source": {"interval": "1m", "tickers": [], "feature_set": "microstructure"}},
    ],
    ids=["file", "learner", "interval", "set"],
)
def test_a_version_that_the_speed_layer_has_no_rows_for_is_not_loaded(
    facts: dict[str, object],
) -> None:
    with pytest.raises(BadInput, match="direction 1"):
        version(1, **facts)


def test_a_trial_answer_that_is_none_is_refused() -> None:
    class Odd(Line):
        def probabilities(self, features: object) -> object:
            return np.full((len(features), 3), 0.5)  # type: ignore[arg-type]

    with pytest.raises(BadInput, match="no probabilities"):
        version(1, Odd())
    with pytest.raises(BadInput, match="speed layer does not make"):
        version(1, Line(names=("of_nobody",)))
    late = Line()
    late.is_hanging = True
    loaded = version(1)
    object.__setattr__(loaded, "_model", late)
    with pytest.raises(Unavailable, match="did not answer in 5 ms"):
        loaded.probabilities(np.zeros((1, 2)), 5)
    late.hangs.set()


def test_predictions_are_told_as_they_are() -> None:
    found = said(in_use(champion=version(1)))
    assert of_told([as_told(each) for each in found]) == found

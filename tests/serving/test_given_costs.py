"""The slippage that a home's setting gives is a backtest's, by hand and by strategy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from feature_repo.trading.money import UNIT
from lake.errors import BadInput
from serving.broker.given_costs import COSTS, costs_given
from serving.session.plan import Opening, Plan, Start, start_of


def test_it_is_as_much_as_the_option_of_a_backtest_says() -> None:
    assert costs_given("0") == COSTS == Plan({"buy-and-hold": {}}).costs
    found = costs_given("2.5")
    assert found == replace(COSTS, slippage=250)
    assert found.slipped("buy", 100 * UNIT) == 100 * UNIT + UNIT * 25 // 1_000
    assert found.slipped("sell", 100 * UNIT) == 100 * UNIT - UNIT * 25 // 1_000


@pytest.mark.parametrize("text", ["", "much", "-1", "10000", "0.001", "nan"])
def test_what_is_unfit_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadInput, match="TICKLAKE_SLIPPAGE_BP: "):
        costs_given(text)


def test_a_session_records_it_for_its_replay() -> None:
    plan = Plan({"buy-and-hold": {"size": "1"}}, costs=costs_given("3"))
    start = Start("s", 0, 1, 1, 0, plan, {"buy-and-hold": Opening(plan.cash)})
    said = start.document()
    assert said["costs"]["slippage"] == 300
    assert start_of("s", said).plan == plan

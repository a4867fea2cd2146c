"""The limits that a home's setting gives: finite without one, by name and in words where unfit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from feature_repo.trading.money import units
from lake.errors import BadInput
from serving.risk.given_limits import DEFAULTS, limits_given
from serving.session.plan import Opening, Plan, Start, start_of


def test_nothing_said_leaves_finite_limits_of_every_kind() -> None:
    found = limits_given("")
    assert found == DEFAULTS
    order = found.order
    given = order.size, order.exposure, order.daily_loss
    more = found.order_value, found.position, found.total_exposure, found.collar, found.orders
    assert None not in (*given, *more)


def test_what_is_said_holds_and_the_rest_stays() -> None:
    found = limits_given("daily_loss=5000, position=2.5,order_value=off")
    order = replace(DEFAULTS.order, daily_loss=units(5000))
    assert found == replace(DEFAULTS, order=order, position=units("2.5"), order_value=None)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("daily_los=5", "'daily_los=5' is no limit: NAME=AMOUNT"),
        ("position", "'position': is none: write it as 1.25"),
        ("position=0", "'position=0' is out of bounds: above 0"),
        ("exposure=-1", "out of bounds"),
        ("exposure=nan", "exposure=nan"),
        ("exposure=1e30", "out of bounds"),
    ],
)
def test_what_is_unfit_is_refused_by_name(text: str, fault: str) -> None:
    with pytest.raises(BadInput) as raised:
        limits_given(text)
    assert str(raised.value).startswith("TICKLAKE_LIMITS: ")
    assert fault in str(raised.value)


def test_a_session_records_them_for_its_replay_and_one_of_before_had_none() -> None:
    plan = Plan({"buy-and-hold": {"size": "1"}}, limits=limits_given("order_value=50"))
    start = Start("s", 0, 1, 1, 0, plan, {"buy-and-hold": Opening(plan.cash)})
    said = start.document()
    assert start_of("s", said).plan == plan
    del said["limits"]["order_value"]
    assert start_of("s", said).plan.limits.order_value is None

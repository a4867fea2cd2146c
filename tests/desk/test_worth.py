"""What all that is held is worth now counts against a day's loss, and against all positions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from feature_repo.trading.limits import DAY_US, Limits
from feature_repo.trading.money import UNIT
from serving.desk.amendment import Wish
from serving.desk.said import RiskRefused
from serving.risk.limits import RiskLimits
from tests.desk.desks import ETH, World, order, placed

LOSS = RiskLimits(Limits(daily_loss=50 * UNIT), orders=None, duplicate_us=None)


def refusals(refused: pytest.ExceptionInfo[RiskRefused]) -> list[tuple[str, int]]:
    return [(each["rule"], each["measured"] // UNIT) for each in refused.value.breaches]


def test_a_fall_of_what_is_held_refuses_orders_of_another_instrument(world: World) -> None:
    world.limits = LOSS
    desk = world.led()
    world.prices.tell(100)
    placed(world, desk, "held")
    world.turns(desk)
    world.prices.tell(40)
    world.prices.tell(10, instrument=ETH)
    with pytest.raises(RiskRefused) as refused:
        desk.place(world.account, replace(order("other"), instrument=ETH), "ann")
    assert refusals(refused) == [("daily_loss", 60)]
    desk.close()


def test_a_rise_of_what_is_held_counts_among_all_positions(world: World) -> None:
    world.limits = replace(LOSS, total_exposure=250 * UNIT)
    desk = world.led()
    world.prices.tell(100)
    placed(world, desk, "held")
    placed(world, desk, "rests", kind="limit", price=98)
    world.turns(desk)
    world.prices.tell(140)
    world.prices.tell(10, instrument=ETH)
    with pytest.raises(RiskRefused) as refused:
        desk.place(world.account, replace(order("other"), instrument=ETH), "ann")
    assert refusals(refused) == [("total_exposure", 290)]
    with pytest.raises(RiskRefused, match="all positions"):
        desk.amend(world.account, "rests", Wish(size=2 * UNIT), "ann")
    desk.close()


def test_a_day_s_loss_counts_from_midnight_whoever_asks_first(world: World) -> None:
    world.limits = LOSS
    desk = world.led()
    world.prices.tell(100)
    placed(world, desk, "held")
    world.turns(desk)
    world.prices.tell(70)
    world.clock.sleep((DAY_US - world.clock.now_us() % DAY_US) / 1e6)
    world.turns(desk)  # a day begins, of which nobody asks for an order yet
    for price, lost in ((15, 55), (18, 52)):
        world.clock.sleep(60)
        world.prices.tell(price)
        with pytest.raises(RiskRefused) as refused:
            desk.place(world.account, order(f"at-{price}"), "ann")
        assert refusals(refused) == [("daily_loss", lost)]
    world.prices.tell(21)
    placed(world, desk, "later")
    desk.close()


def test_the_first_day_s_loss_is_remembered_over_a_restart(world: World) -> None:
    world.limits = LOSS
    desk = world.led()
    for price, side in ((100, "buy"), (40, "sell")):
        world.prices.tell(price)
        placed(world, desk, f"at-{price}", side=side)
        world.turns(desk)
    desk.close()
    desk = world.led()
    world.prices.tell(40)
    with pytest.raises(RiskRefused) as refused:
        desk.place(world.account, order("again"), "ann")
    assert refusals(refused) == [("daily_loss", 61)]
    desk.close()

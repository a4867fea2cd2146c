"""No order by hand rests on a book that is crossed, or on a price that only a clock makes new."""

from __future__ import annotations

import pytest

from feature_repo.trading.money import UNIT
from serving.desk.market import seen_of
from serving.desk.said import RiskRefused
from tests.desk.desks import BTC, World, order, placed


def test_a_crossed_book_fills_nothing_and_is_no_price(world: World) -> None:
    desk = world.led()
    world.prices.cross(100)
    told = world.prices.told(BTC)
    assert seen_of(told).middle is None
    placed(world, desk, "a")
    placed(world, desk, "rests", kind="limit", price=101)
    placed(world, desk, "stop", kind="stop", price=99)
    world.turns(desk)
    assert [world.state(each) for each in ("a", "rests", "stop")] == ["accepted"] * 3
    world.prices.tell(100)
    world.turns(desk)
    assert [world.state(each) for each in ("a", "rests", "stop")] == ["filled"] * 3
    (held,) = world.book.positions(world.account)
    assert held["cost"] == "301.5"
    desk.close()


def test_a_clock_that_steps_back_makes_no_old_price_fresh(world: World) -> None:
    desk = world.led()
    placed(world, desk, "before", size=9 * UNIT)
    world.turns(desk)
    assert world.state("before") == "partially_filled"
    world.clock.advance(6_000_000)
    for back_us, measured in ((6_000_000, 6_000_000), (60_000_000, 59_000_000)):
        world.clock.step(-back_us)
        with pytest.raises(RiskRefused, match=r"too old|has not come") as refused:
            desk.place(world.account, order(f"back-{back_us}"), "ann")
        (breach,) = refused.value.breaches
        assert breach["rule"] == "stale_price"
        assert abs(breach["measured"] - measured) < 2_500_000
        world.turns(desk)
    assert world.state("before") == "partially_filled"
    world.prices.tell(100)  # its time is that of the clock as it is now
    placed(world, desk, "after")
    desk.close()

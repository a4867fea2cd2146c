"""An order is amended by whoever saw what it is, within the limits, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from feature_repo.trading.money import UNIT
from lake.errors import Refused
from serving.desk.amendment import Wish
from serving.desk.said import RiskRefused
from tests.desk.desks import World, faults_of, placed


def test_an_amended_order_is_an_event_once_the_broker_says_so(world: World) -> None:
    world.limits = replace(world.limits, position=3 * UNIT)
    desk = world.led()
    placed(world, desk, "a", kind="limit", price=98, size=2 * UNIT)
    with pytest.raises(Refused, match="is created"):
        desk.amend(world.account, "a", Wish(size=UNIT), "ann")
    world.turns(desk)
    with pytest.raises(Refused, match="is at event 2, not 1"):
        desk.amend(world.account, "a", Wish(size=UNIT, expected_sequence=1), "ann")
    with pytest.raises(RiskRefused) as refused:
        desk.amend(world.account, "a", Wish(size=4 * UNIT), "ann")
    (breach,) = refused.value.breaches
    assert (breach["rule"], breach["measured"], breach["limit"]) == ("position", 4 * UNIT, 3 * UNIT)
    row = desk.amend(world.account, "a", Wish(98 * UNIT + 1, 3 * UNIT, 2), "ann")
    assert row["price"] == "98"  # asked for, and not told of yet
    with pytest.raises(Refused, match="is being amended"):
        desk.amend(world.account, "a", Wish(size=UNIT), "bob")
    with pytest.raises(RiskRefused, match="position"):
        placed(world, desk, "more", size=UNIT)
    world.turns(desk)
    assert world.kinds("a") == ["created", "accepted", "amended"]
    (found,) = (
        each for each in world.book.orders(world.account, 9) if each["client_order_id"] == "a"
    )
    assert (found["price"], found["size"], found["current_state"]) == (
        "98.0000000001",
        "3",
        "accepted",
    )
    desk.close()
    assert faults_of(world.dsn) == []
    desk = world.led()  # what it was amended to works after a restart, too
    world.prices.tell(97)
    world.turns(desk)
    assert world.state("a") == "filled"
    assert world.kinds("a")[-1] == "filled"
    with pytest.raises(Refused, match="is filled"):
        desk.amend(world.account, "a", Wish(size=9 * UNIT), "ann")
    desk.close()


def test_what_was_filled_meanwhile_is_not_amended_below_that(world: World) -> None:
    desk = world.led()
    placed(world, desk, "a", kind="limit", price=98, size=9 * UNIT)
    world.turns(desk)
    desk.amend(world.account, "a", Wish(size=5 * UNIT), "ann")
    world.prices.tell(97)  # three by the quote and three by the trade, before it gets there
    world.turns(desk)
    assert "amended" not in world.kinds("a")
    desk.amend(world.account, "a", Wish(size=8 * UNIT), "ann")  # the one before is answered
    world.turns(desk)
    assert world.kinds("a")[-1] == "amended"
    desk.close()

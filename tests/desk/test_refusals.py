"""What a limit refuses is kept: an amendment, too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from feature_repo.ledger.commands import order_id
from feature_repo.trading.money import UNIT
from serving.desk.amendment import Wish
from serving.desk.said import RiskRefused
from tests.desk.desks import World, faults_of, placed


def kept(world: World) -> list[dict[str, Any]]:
    return [dict(each) for each in world.book.breaches(100) if each["account"] == world.account]


def test_an_amendment_that_a_limit_refuses_is_a_breach_as_an_order_is(world: World) -> None:
    world.limits = replace(world.limits, position=3 * UNIT)
    desk = world.led()
    placed(world, desk, "a", kind="limit", price=98, size=2 * UNIT)
    world.turns(desk)
    said = []
    for size in (4, 5):
        with pytest.raises(RiskRefused) as refused:
            desk.amend(world.account, "a", Wish(size=size * UNIT), "ann")
        said += refused.value.breaches
        world.turns(desk)
    assert [each["client_order_id"] for each in said] == ["a", "a"]
    newest, before = kept(world)
    assert (before["rule"], before["measured"]) == ("position", 4 * UNIT)
    assert newest["measured"] == 5 * UNIT
    assert newest["client_order_id"] == f"a amended 3 at {newest['t']}"
    assert world.kinds(newest["client_order_id"]) == ["created", "rejected"]
    assert world.kinds("a") == ["created", "accepted"]
    desk.amend(world.account, "a", Wish(size=3 * UNIT), "ann")
    world.turns(desk)
    assert world.kinds("a")[-1] == "amended"
    desk.close()
    desk = world.led()
    assert kept(world) == [newest, before]
    desk.close()
    assert faults_of(world.dsn) == []


def test_a_refusal_names_ticks_that_are_on_the_disk_or_none(world: World) -> None:
    world.limits = replace(world.limits, position=UNIT)
    desk = world.led()

    def ticks(name: str) -> str:
        with pytest.raises(RiskRefused):
            placed(world, desk, name, size=2 * UNIT)
        event = world.book.events(order_id(world.account, name), 1)[0]
        return str(event["origin"]["ticks"])

    frame = world.prices.frame
    assert ticks("there") == f"3:{frame}-{frame}"
    world.rests.upto = frame
    world.prices.tell(100)
    assert ticks("never") == "none"
    world.prices.tell(100)

    def arrives() -> None:
        assert world.state("later") == ""
        world.rests.upto = world.prices.frame

    world.rests.on_wait = arrives
    assert ticks("later") == f"3:{frame + 2}-{frame + 2}"
    world.rests.on_wait = lambda: None
    world.rests.void = {world.prices.frame}
    assert ticks("lost") == "none"
    desk.close()

"""An order of which a venue gave no answer may be there: no stop of trading forgets it."""

from __future__ import annotations

import pytest

from feature_repo.trading.costs import Costs
from serving.broker.coinbase_advanced import ROOT, CoinbaseAdvanced
from serving.desk.venue import RealVenue
from tests.desk.desks import World, faults_of, placed
from tests.desk.venues import Exchange, Lossy
from tests.serving.coinbase_server import CoinbaseServer


def test_an_order_whose_answer_was_lost_is_taken_back_when_trading_stops(world: World) -> None:
    exchange = Exchange(world.prices)
    desk = world.led(lambda: RealVenue(Lossy(exchange, losses=2)))
    placed(world, desk, "lost", kind="limit", price=98)
    assert exchange.working() == ["lost"]
    world.stopped = True
    desk.cancel_all("ann")
    world.turns(desk, 5)
    assert world.kinds("lost") == ["created", "accepted", "cancelled"]
    assert exchange.working() == []
    desk.close()
    assert faults_of(world.dsn) == []


def test_what_was_never_sent_when_trading_stopped_is_not_sent(world: World) -> None:
    exchange = Exchange(world.prices)
    desk = world.led(lambda: RealVenue(Lossy(exchange)))

    def stop() -> None:
        world.stopped = True

    world.rests.on_look = stop
    placed(world, desk, "late", kind="limit", price=98)
    world.turns(desk)
    assert world.kinds("late") == ["created", "cancelled"]
    assert exchange.orders == {}
    desk.close()


def test_what_is_late_at_a_venue_that_answers_again_is_taken_back(world: World) -> None:
    exchange = Exchange(world.prices)
    desk = world.led(lambda: RealVenue(Lossy(exchange, losses=1)))
    placed(world, desk, "late", kind="limit", price=98)
    world.clock.sleep(6)
    world.turns(desk)
    assert world.kinds("late") == ["created", "accepted", "cancelled"]
    assert exchange.working() == []
    desk.close()


def test_what_is_known_is_cancelled_first_and_one_lost_order_is_asked_for_a_turn(
    world: World,
) -> None:
    exchange = Exchange(world.prices)
    broker = Lossy(exchange)
    desk = world.led(lambda: RealVenue(broker))
    placed(world, desk, "known", kind="limit", price=97)
    broker.losses = 3
    for i in range(3):
        placed(world, desk, f"lost {i}", kind="limit", price=98)
    world.stopped = True
    broker.said.clear()
    broker.refused = {"cancel"}
    said = []
    for _ in range(4):
        world.turns(desk, 1)
        said.append([*broker.said])
        broker.said.clear()
        world.clock.sleep(0.2)
    assert said[0] == ["cancel all", "cancel lost 0"]
    assert [each[-1:] for each in said[1:]] == [
        ["cancel lost 1"],
        ["cancel lost 2"],
        ["cancel lost 0"],
    ]
    world.turns(desk, 3)
    assert exchange.working() == []
    assert [world.state(f"lost {i}") for i in range(3)] == ["cancelled"] * 3
    desk.close()


@pytest.mark.parametrize("call", ["place", "cancel"])
def test_an_order_that_may_be_there_is_not_rejected_by_what_is_said_later(
    world: World, call: str
) -> None:
    exchange = Exchange(world.prices)
    broker = Lossy(exchange, losses=1)
    desk = world.led(lambda: RealVenue(broker))
    placed(world, desk, "lost", kind="limit", price=98)
    broker.refused = {call}
    world.stopped = call == "cancel"
    world.turns(desk, 1)
    assert broker.refused == set()
    assert world.kinds("lost") == ["created"]
    world.turns(desk, 12)
    ends = ["cancelled"] if world.stopped else []
    assert world.kinds("lost") == ["created", "accepted", *ends]
    desk.close()


def test_an_order_that_the_broker_refuses_at_first_is_rejected(world: World) -> None:
    exchange = Exchange(world.prices)
    desk = world.led(lambda: RealVenue(Lossy(exchange, refused={"place"})))
    placed(world, desk, "refused", kind="limit", price=98)
    world.turns(desk, 1)
    assert world.kinds("refused") == ["created", "rejected"]
    assert exchange.orders == {}
    desk.close()


def test_an_order_whose_cancel_is_refused_after_it_was_placed_is_not_rejected(
    world: World,
) -> None:
    exchange = Exchange(world.prices)
    broker = Lossy(exchange, refused={"cancel"})
    desk = world.led(lambda: RealVenue(broker))

    def age() -> None:
        world.clock.sleep(6)

    world.rests.on_look = age
    placed(world, desk, "late", kind="limit", price=98)
    assert broker.said == ["place late", "cancel late"]
    world.rests.on_look = lambda: None
    world.turns(desk, 12)
    assert world.kinds("late") == ["created", "accepted", "cancelled"]
    assert broker.said.count("place late") == 1
    desk.close()


def test_an_order_that_never_reached_coinbase_is_not_sent_by_a_stop(world: World) -> None:
    with CoinbaseServer(Costs()) as server:
        server.now_us = world.clock.now_us()
        broker = CoinbaseAdvanced(server.url, None, world.clock)
        desk = world.led(lambda: RealVenue(broker))
        placed(world, desk, "known", kind="limit", price=98)
        server.faults = [503]
        placed(world, desk, "never")
        world.stopped = True
        server.asked.clear()
        world.turns(desk, 3)
        assert server.asked[0] == f"POST {ROOT}/batch_cancel"
        assert world.kinds("never") == ["created"]
        world.clock.sleep(10)
        server.now_us = world.clock.now_us()
        world.turns(desk, 3)
        assert world.kinds("never") == ["created", "cancelled"]
        assert f"POST {ROOT}" not in server.asked
        broker.close()
        desk.close()

"""An order of which a venue gave no answer may be there: no stop of trading forgets it."""

from __future__ import annotations

from serving.desk.venue import RealVenue
from tests.desk.desks import World, faults_of, placed
from tests.desk.venues import Exchange, Lossy


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

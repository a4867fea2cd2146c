"""Issue 7, parts 4 to 6: an order is on the ledger before anybody hears of it, once, and not on
data that is old or lost.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from feature_repo.ledger.commands import order_id
from feature_repo.ledger.projection import MOMENT_S
from feature_repo.trading.limits import Limits
from feature_repo.trading.money import UNIT
from lake.errors import Refused, Unavailable, WrongUse
from serving.desk.desk import LedgerDesk
from serving.desk.said import RiskRefused
from serving.risk.given_limits import limits_given
from serving.risk.limits import RiskLimits
from tests.desk.desks import CASH, CODE, World, end_sessions, faults_of, order, until


def place(world: World, desk: LedgerDesk, name: str, **more: object) -> None:
    assert desk.place(world.account, order(name, **more), "ann").is_new  # type: ignore[arg-type]


def money(world: World) -> dict[str, str]:
    (row,) = world.book.pnl(world.account)
    return dict(row)


def test_an_order_goes_created_risk_broker_and_each_report_is_an_event(world: World) -> None:
    desk = world.led()
    place(world, desk, "a")
    assert world.kinds("a") == ["created"]  # before any turn
    world.turns(desk)
    assert world.kinds("a") == ["created", "accepted", "filled"]
    (held,) = world.book.positions(world.account)
    assert (held["size"], held["cost"], held["price"]) == ("1", "100.5", "100")
    world.prices.tell(110)
    assert world.book.positions(world.account)[0]["unrealised"] == "9.5"
    assert money(world)["cash"] == f"{CASH // UNIT - 101 + 0.4 - 0.0005:.4f}"[:-4] + "3995"
    created = world.book.events(order_id(world.account, "a"), 1)[0]
    assert created["origin"]["ticks"] == "3:1-1"
    assert created["origin"]["model"] == "by hand: ann"
    assert created["origin"]["code"] == CODE
    desk.close()
    assert faults_of(world.dsn) == []


def test_the_same_order_again_is_the_order_there_is_and_another_is_refused(world: World) -> None:
    desk = world.led()
    place(world, desk, "a")
    again = desk.place(world.account, order("a"), "ann")
    assert (again.is_new, again.order["current_state"]) == (False, "created")
    world.turns(desk)
    for each in (desk, None):
        each = each or world.led()
        assert desk.place(world.account, order("a"), "bob").order["current_state"] == "filled"
        with pytest.raises(Refused, match="another order"):
            desk.place(world.account, order("a", size=2 * UNIT), "ann")
        desk.close()
    assert world.kinds("a") == ["created", "accepted", "filled"]


def test_many_that_ask_for_one_order_at_once_get_one(world: World) -> None:
    desk = world.led()
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(desk.place, world.account, order("a"), "ann") for _ in range(16)]
        placed = [each.result() for each in asked]
        more = [pool.submit(place, world, desk, f"b{n}") for n in range(40)]
        assert all(each.result() is None for each in more)
    assert sum(each.is_new for each in placed) == 1
    world.turns(desk)
    assert world.kinds("a")[0] == "created"
    assert len(world.book.orders(world.account, 100)) == 41
    desk.close()


def test_a_refusal_is_kept_with_rule_measure_and_limit(world: World) -> None:
    world.limits = RiskLimits(Limits(size=UNIT), duplicate_us=None)
    desk = world.led()
    big = order("big", size=2 * UNIT, kind="limit", price=200)
    with pytest.raises(RiskRefused) as refused:
        desk.place(world.account, big, "ann")
    rules = [(each["rule"], each["measured"], each["limit"]) for each in refused.value.breaches]
    assert rules == [("size", 2 * UNIT, UNIT), ("collar", 1_000_000, 50_000)]
    assert world.kinds("big") == ["created", "rejected"]
    kept = [each for each in world.book.breaches(100) if each["account"] == world.account]
    assert kept == list(refused.value.breaches)
    assert desk.place(world.account, big, "ann").order["current_state"] == "rejected"
    place(world, desk, "small")
    desk.close()


def test_limits_of_the_setting_refuse_by_rule_and_measure(world: World) -> None:
    world.limits = limits_given("order_value=150,position=1.2")
    desk = world.led()
    with pytest.raises(RiskRefused) as refused:
        desk.place(world.account, order("big", size=2 * UNIT), "ann")
    found = [(each["rule"], each["measured"], each["limit"]) for each in refused.value.breaches]
    limit = world.limits.position
    assert found == [("order_value", 200 * UNIT, 150 * UNIT), ("position", 2 * UNIT, limit)]
    desk.close()


def test_a_stale_price_refuses(world: World) -> None:
    desk = world.led()
    world.clock.sleep(6)
    with pytest.raises(RiskRefused, match="too old"):
        desk.place(world.account, order("a"), "ann")
    desk.close()


def test_a_price_that_jumped_refuses_market_orders_and_sets_off_no_stop(world: World) -> None:
    desk = world.led()
    place(world, desk, "stop", side="sell", kind="stop", price=98)
    world.prices.usual = 100 * UNIT
    world.prices.tell(90)
    with pytest.raises(RiskRefused) as refused:
        desk.place(world.account, order("a"), "ann")
    assert [each["rule"] for each in refused.value.breaches] == ["spike"]
    world.turns(desk)
    assert world.state("stop") == "accepted"
    world.prices.usual = 91 * UNIT  # it stayed there
    world.prices.tell(90)
    place(world, desk, "b")
    world.turns(desk)
    assert world.state("stop") == "filled"
    desk.close()


def test_an_order_waits_for_the_frames_of_its_price(world: World) -> None:
    desk = world.led()
    world.prices.tell(100)
    world.rests.upto = 1
    with pytest.raises(Refused, match="not on the disk after 2 s"):
        desk.place(world.account, order("a"), "ann")
    assert world.state("a") == ""
    world.prices.tell(100)

    def arrives() -> None:
        assert world.state("a") == ""
        world.rests.upto = world.prices.frame

    world.rests.on_wait = arrives
    place(world, desk, "a")
    world.rests.on_wait = lambda: None
    world.rests.void = {world.prices.frame}
    with pytest.raises(Refused, match="lost"):
        desk.place(world.account, order("b"), "ann")
    assert world.state("b") == ""
    desk.close()


def test_paper_fills_rest_on_durable_quotes(world: World) -> None:
    desk = world.led()
    place(world, desk, "a", kind="limit", price=99)
    world.turns(desk)
    world.rests.upto = world.prices.frame
    world.prices.tell(95)
    world.turns(desk)
    assert world.state("a") == "accepted"
    world.rests.void = {world.prices.frame}
    world.turns(desk)
    assert world.state("a") == "accepted"
    world.prices.tell(96)
    world.rests.upto = world.prices.frame
    world.turns(desk)
    assert world.state("a") == "filled"
    desk.close()


def test_the_kill_switch_cancels_refuses_and_survives(world: World) -> None:
    desk = world.led()
    place(world, desk, "rests", kind="limit", price=98)
    world.turns(desk)
    world.stopped = True
    assert desk.cancel_all("ann") == 1
    with pytest.raises(Refused, match="stopped"):
        desk.place(world.account, order("late"), "ann")
    world.turns(desk)
    assert world.state("rests") == "cancelled"
    world.stopped = False
    place(world, desk, "again", kind="limit", price=98)
    world.turns(desk)
    world.stopped = True
    desk.close()
    desk = world.led()
    world.turns(desk)
    assert world.state("again") == "cancelled"
    assert world.state("late") == ""
    desk.close()


def test_a_cancel_ends_what_is_left(world: World) -> None:
    desk = world.led()
    place(world, desk, "a", size=5 * UNIT, kind="limit", price=101)
    world.turns(desk)
    desk.cancel(world.account, "a", "ann")
    world.turns(desk)
    assert world.kinds("a") == ["created", "accepted", "partially_filled", "cancelled"]
    with pytest.raises(Refused, match="cancelled"):
        desk.cancel(world.account, "a", "ann")
    with pytest.raises(WrongUse, match="not there"):
        desk.cancel(world.account, "b", "ann")
    with pytest.raises(WrongUse, match="not here"):
        desk.place("other", order("a"), "ann")
    desk.close()


@pytest.mark.parametrize("how", ["close", "sessions"])
def test_what_stood_before_goes_on(world: World, how: str) -> None:
    desk = world.led()
    place(world, desk, "done", size=2 * UNIT)
    place(world, desk, "part", size=5 * UNIT, kind="limit", price=101)
    place(world, desk, "rests", kind="limit", price=98)
    world.turns(desk)
    before = (money(world), world.book.positions(world.account))
    if how == "close":
        desk.close()
        desk = world.led()
    else:
        end_sessions(world.dsn)
        with pytest.raises(Unavailable):
            desk.place(world.account, order("while"), "ann")
        world.leads(desk)
    assert (money(world), world.book.positions(world.account)) == before
    world.prices.tell(97)
    world.turns(desk)
    assert [world.state(name) for name in ("done", "part", "rests")] == ["filled"] * 3
    assert money(world)["realised"] == "0"
    assert world.book.positions(world.account)[0]["size"] == "8"
    desk.close()
    assert faults_of(world.dsn) == []


def test_one_leads_and_the_other_reads_and_takes_over(world: World) -> None:
    first, second = world.led(), world.desk()
    world.clock.sleep(2)
    second.turn()
    assert not second.leads
    world.prices.tell(100)
    place(world, first, "a")
    assert second.place(world.account, order("a"), "bob").order["client_order_id"] == "a"
    with pytest.raises(Unavailable, match="another process leads"):
        second.place(world.account, order("b"), "bob")
    first.close()
    world.leads(second)
    world.prices.tell(100)
    place(world, second, "b")
    with pytest.raises(Unavailable):
        first.place(world.account, order("c"), "ann")
    first.close()
    second.close()


def test_an_order_that_was_never_sent_and_is_old_does_not_go_out(world: World) -> None:
    desk = world.led()
    place(world, desk, "young")
    desk.close()
    desk = world.led()
    world.prices.tell(100)
    world.turns(desk)
    assert world.state("young") == "filled"
    place(world, desk, "old")
    desk.close()
    world.clock.sleep(60)
    world.prices.tell(100)
    desk = world.led()
    world.turns(desk)
    assert world.kinds("old") == ["created", "accepted", "cancelled"]
    desk.close()


def test_a_day_s_loss_is_remembered_over_a_restart(world: World) -> None:
    world.limits = RiskLimits(Limits(daily_loss=50 * UNIT), orders=None, duplicate_us=None)
    desk = world.led()
    world.clock.sleep(2 * MOMENT_S)
    place_at(world, desk, "a", 100)
    world.clock.sleep(86_400)
    world.prices.tell(100)
    world.turns(desk)
    desk.close()
    world.prices.tell(40)
    desk = world.led()
    world.prices.tell(40)
    with pytest.raises(RiskRefused, match="daily loss"):
        desk.place(world.account, order("b"), "ann")
    desk.close()


def place_at(world: World, desk: LedgerDesk, name: str, price: int) -> None:
    world.prices.tell(price)
    place(world, desk, name)
    world.turns(desk)


def test_what_is_held_is_marked_before_a_snapshot(world: World) -> None:
    desk = world.led()
    place_at(world, desk, "a", 100)
    moment_us = MOMENT_S * 1_000_000
    world.clock.step(-world.clock.now_us() % moment_us + moment_us - 15_000_000)
    for price, sleep_s in ((120, 0.0), (130, 8.0)):
        world.clock.sleep(sleep_s)
        world.prices.tell(price)
        world.turns(desk, 20)
        assert until(lambda: str(price) in marks(world))  # noqa: B023
    assert marks(world) == ["120", "130"]
    desk.close()


def marks(world: World) -> list[str]:
    query = (
        "SELECT price::int::text FROM market.position_events"
        " WHERE account = %s AND event_type = 'marked' ORDER BY id"
    )
    with psycopg.connect(world.dsn) as connection:
        return [price for (price,) in connection.execute(query, (world.account,))]


def test_a_book_without_a_ledger_says_so(world: World) -> None:
    lost = World(world.dsn.replace("/test_", "/gone_"))
    asks: list[Callable[[], object]] = [
        lambda: lost.book.orders("", 1),
        lambda: lost.desk().place(lost.account, order("a"), "ann"),
    ]
    for ask in asks:
        with pytest.raises(Unavailable):
            ask()

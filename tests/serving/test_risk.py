"""No order passes a limit; the kill switch holds through restarts, faults and emptied servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from feature_repo.trading.account import Account
from feature_repo.trading.limits import Limits
from feature_repo.trading.market import Instrument
from feature_repo.trading.money import times, units
from feature_repo.trading.order import Fill, Order, Side
from lake.clock import ManualClock
from serving.risk.kill_switch import AWAY_US_MAX, LOOK_US, KillSwitch
from serving.risk.limits import Asked, Breach, RiskDesk, RiskLimits
from serving.risk.prices import Price
from serving.streams import keys
from serving.streams.connect import connected

BTC = Instrument("X:BTCUSD", "sim", "spot")
ETH = Instrument("X:ETHUSD", "sim", "spot")
NOW_US = 1_700_000_000_000_000
PRICE = Price(units(100), NOW_US)


def account_of(btc: str = "0", eth: str = "0") -> Account:
    account = Account(units(10_000))
    for instrument, size in ((BTC, btc), (ETH, eth)):
        account.marks[instrument] = units(100)
        if units(size):
            side: Side = "buy" if units(size) > 0 else "sell"
            fill = Fill("f", instrument, 0, side, units(100), abs(units(size)), 0, False)
            account.apply(fill)
    return account


def asked(
    size: str = "1",
    side: Side = "buy",
    *,
    account: Account | None = None,
    price: Price | None = PRICE,
    now_us: int = NOW_US,
    limit: str | None = None,
    client_id: str = "",
    usual: str | None = None,
    middle: str | None = None,
    middle_age_us: int = 0,
) -> Asked:
    at = None if limit is None else units(limit)
    order = Order(BTC, side, units(size), "limit" if limit else "market", at, client_id=client_id)
    book = None if middle is None else Price(units(middle), now_us - middle_age_us)
    is_usual = None if usual is None else units(usual)
    return Asked(order, account or account_of(), price, now_us, is_usual, book)


def rules(desk: RiskDesk, one: Asked) -> list[str]:
    return [breach.rule for breach in desk.breaches(one)]


@pytest.mark.parametrize(
    ("limits", "one", "rule"),
    [
        ({"order": Limits(size=units(1))}, asked("1.0000000001"), "size"),
        ({"order": Limits(exposure=units(100))}, asked("1.01"), "exposure"),
        ({"order_value": units(150)}, asked("1.51"), "order_value"),
        ({"order_value": units(150)}, asked("1.49", limit="101"), "order_value"),
        ({"order_value": units(150)}, asked("1.51", "sell", limit="99"), "order_value"),
        ({"position": units(2)}, asked("1.5", account=account_of(btc="1")), "position"),
        ({"position": units(2)}, asked("4", "sell", account=account_of(btc="1")), "position"),
        (
            {"total_exposure": units(250)},
            asked("1", account=account_of("1", "-1")),
            "total_exposure",
        ),
        ({"collar": 50_000}, asked(limit="105.01"), "collar"),
        ({"collar": 50_000}, asked(limit="94.99", side="sell"), "collar"),
        ({}, asked(usual="95.2"), "spike"),
        ({}, asked("1", "sell", usual="105.3", account=account_of(btc="1")), "spike"),
        ({}, asked(usual="100", middle="94.9"), "spike"),
        ({}, asked(now_us=NOW_US + 5_000_001), "stale_price"),
        ({}, asked(price=None), "stale_price"),
        ({}, asked(price=Price(units(100), NOW_US + 2_000_001)), "stale_price"),
        ({}, asked(price=Price(units(100), NOW_US, 5_000_001)), "stale_price"),
    ],
)
def test_an_order_that_would_pass_a_limit_is_refused_with_its_rule(
    limits: dict[str, Any], one: Asked, rule: str
) -> None:
    assert rules(RiskDesk(RiskLimits(**limits)), one) == [rule]


def test_a_limit_itself_is_not_passed() -> None:
    limits = RiskLimits(
        order=Limits(size=units(1), exposure=units(200)),
        position=units(2),
        total_exposure=units(300),
        collar=50_000,
        order_value=units(105),
    )
    one = asked("1", limit="105", account=account_of("1", "-1"), now_us=NOW_US + 5_000_000)
    assert RiskDesk(limits).breaches(one) == []
    ahead = asked("1", price=Price(units(100), NOW_US + 2_000_000, 5_000_000))
    assert RiskDesk(RiskLimits()).breaches(ahead) == []


def test_a_spike_is_measured_on_what_is_fresh_and_of_market_orders_alone() -> None:
    desk = RiskDesk(RiskLimits(duplicate_us=None))
    for passes in (
        asked(),
        asked(usual="95.3"),
        asked(usual="105.2", middle="100"),
        asked(usual="100", middle="50", middle_age_us=5_000_001),
        asked(usual="50", limit="100"),
    ):
        assert rules(desk, passes) == []
    (breach,) = desk.breaches(asked(usual="80", middle="120"))
    assert breach == Breach("spike", "the price has jumped from what is usual", 500_000, 50_000)
    assert rules(RiskDesk(RiskLimits(spike=None)), asked(usual="80")) == []


def test_a_day_s_loss_lets_only_smaller_positions_through_until_the_next() -> None:
    desk, account = RiskDesk(RiskLimits(order=Limits(daily_loss=units(50)))), account_of(btc="1")
    desk.at(NOW_US, account)
    account.marks[BTC] = units(49)
    assert rules(desk, asked(account=account)) == ["daily_loss"]
    assert rules(desk, asked("1", "sell", account=account)) == []
    assert rules(desk, asked("2.5", "sell", account=account)) == ["daily_loss"]
    tomorrow_us = NOW_US + 86_400_000_000
    desk.at(tomorrow_us, account)
    price = Price(units(49), tomorrow_us)
    assert rules(desk, asked(account=account, price=price, now_us=tomorrow_us)) == []


def test_orders_that_come_too_often_or_twice_are_refused() -> None:
    desk = RiskDesk(RiskLimits(orders=2, per_us=1_000, duplicate_us=500))
    assert rules(desk, asked("1", client_id="a")) == []
    assert rules(desk, asked("2", client_id="a")) == ["duplicate"]
    assert rules(desk, asked("1", client_id="b")) == ["duplicate"]
    assert rules(desk, asked("1", client_id="b", now_us=NOW_US + 501)) == []
    assert rules(desk, asked("3", client_id="c", now_us=NOW_US + 502)) == ["rate"]
    assert rules(desk, asked("3", client_id="c", now_us=NOW_US + 1_000)) == []


def test_what_was_sent_before_a_restart_counts() -> None:
    desk = RiskDesk(RiskLimits(orders=1, per_us=1_000))
    desk.restore([(NOW_US - 10, asked("1", client_id="a").order)])
    assert rules(desk, asked("1", client_id="a")) == ["rate", "duplicate"]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=30))
def test_whatever_is_asked_the_position_and_its_worth_stay_within_the_limits(
    wishes: list[tuple[bool, int]],
) -> None:
    limits = RiskLimits(
        position=units(5), total_exposure=units(400), orders=None, duplicate_us=None
    )
    desk, account = RiskDesk(limits), account_of()
    for buys, tenths in wishes:
        one = asked(str(tenths / 10), "buy" if buys else "sell", account=account)
        if not desk.breaches(one):
            size = account.working.get(BTC, 0) + one.order.signed
            account.working[BTC] = size
        assert abs(account.expected(BTC)) <= units(5)
        assert abs(times(units(100), account.expected(BTC))) <= units(400)


def test_a_breach_says_what_was_measured() -> None:
    limits = RiskLimits(Limits(units(1), units(100), units(5)), order_value=units(150))
    desk, account = RiskDesk(limits), account_of(btc="1")
    desk.at(NOW_US, account)
    account.marks[BTC] = units(90)
    measured = {each.rule: each.measured for each in desk.breaches(asked("2", account=account))}
    assert measured == {"size": units(2), "order_value": units(200)}
    measured = {each.rule: each.measured for each in desk.breaches(asked("1", account=account))}
    assert measured == {"exposure": units(180)}
    desk = RiskDesk(RiskLimits(Limits(daily_loss=units(5))))
    desk.at(NOW_US, account)
    account.marks[BTC] = units(80)
    (breach,) = desk.breaches(asked("1", account=account))
    assert (breach.rule, breach.measured) == ("daily_loss", units(10))
    (breach,) = RiskDesk(RiskLimits(collar=10_000)).breaches(asked(limit="103"))
    reason = "its price is too far from the market's"
    assert breach == Breach("collar", reason, 30_000, 10_000)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def client(valkey_url: str) -> Redis:
    client = connected(valkey_url, wait_s=60.0)
    client.delete(keys.KILLED)
    return client


def test_it_holds_for_whoever_shares_the_file_or_redis_and_after_a_restart(
    tmp_path: Path, client: Redis, clock: ManualClock
) -> None:
    here, there = tmp_path / "here.json", tmp_path / "there.json"
    switch, other = KillSwitch(here, client, clock), KillSwitch(there, client, clock)
    assert not switch.is_on
    assert not other.is_on
    thrown = switch.throw("risk", "the day's loss")
    clock.advance(LOOK_US)
    assert other.state() == thrown
    client.flushdb()
    assert KillSwitch(here, client, clock).state() == thrown
    assert KillSwitch(there, None, clock).is_on  # it was copied while Redis had it
    clock.advance(1)
    released = KillSwitch(there, client, clock).release("a trader", "looked at")
    assert KillSwitch(here, client, clock).state() == released
    clock.advance(LOOK_US)
    assert not switch.is_on


def test_a_clock_that_steps_back_does_not_undo_it(
    tmp_path: Path, client: Redis, clock: ManualClock
) -> None:
    switch = KillSwitch(tmp_path / "k.json", client, clock)
    switch.throw("a", "first")
    switch.release("a", "again")
    clock.step(-3_600_000_000)
    switch.throw("a", "second")
    assert KillSwitch(tmp_path / "k.json", client, clock).state().reason == "second"


def test_it_is_on_without_redis_and_where_nothing_can_be_read(
    tmp_path: Path, clock: ManualClock
) -> None:
    dead = connected("redis://127.0.0.1:9/0", wait_s=0.05)
    switch = KillSwitch(tmp_path / "k.json", dead, clock)
    assert not switch.is_on
    clock.advance(AWAY_US_MAX + 1)
    assert switch.is_on
    switch.throw("a", "by hand")
    assert KillSwitch(tmp_path / "k.json", None, clock).is_on
    (tmp_path / "k.json").write_text("{")
    assert KillSwitch(tmp_path / "k.json", None, clock).is_on
    (tmp_path / "k.json").unlink()
    (tmp_path / "k.json").mkdir()
    assert KillSwitch(tmp_path / "k.json", None, clock).is_on


@pytest.mark.parametrize("damaged", [b"", b"{", b'{"killed": false}'])
def test_a_file_that_can_t_be_read_loses_to_no_release_after_a_restart(
    tmp_path: Path, client: Redis, clock: ManualClock, damaged: bytes
) -> None:
    file = tmp_path / "k.json"
    KillSwitch(file, client, clock).release("a trader", "of before")
    clock.advance(1_000)
    file.write_bytes(damaged)
    after = KillSwitch(file, client, clock)
    for _ in range(3):
        assert after.is_on
        clock.advance(LOOK_US)
    assert file.read_bytes() == damaged
    KillSwitch(tmp_path / "there.json", client, clock).release("a trader", "elsewhere")
    clock.advance(LOOK_US)
    assert after.is_on
    assert KillSwitch(file, client, clock).is_on
    KillSwitch(file, client, clock).release("a trader", "looked at")
    assert not KillSwitch(file, client, clock).is_on
    assert not after.is_on


def test_a_file_that_can_t_be_read_takes_a_newer_kill(
    tmp_path: Path, client: Redis, clock: ManualClock
) -> None:
    thrown = KillSwitch(tmp_path / "there.json", client, clock).throw("risk", "the day's loss")
    (tmp_path / "k.json").touch()
    assert KillSwitch(tmp_path / "k.json", client, clock).state() == thrown
    client.flushdb()
    assert KillSwitch(tmp_path / "k.json", client, clock).state() == thrown


def test_a_word_that_can_t_be_written_here_holds_all_the_same(
    tmp_path: Path, client: Redis, clock: ManualClock
) -> None:
    KillSwitch(tmp_path / "there.json", client, clock).throw("risk", "the day's loss")
    (tmp_path / "file").touch()
    here = KillSwitch(tmp_path / "file" / "k.json", client, clock)
    assert [here.is_on, here.is_on] == [True, True]
    clock.advance(LOOK_US)
    assert here.is_on

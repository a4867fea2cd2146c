"""Issue 6, part 6: known answers, computed by hand, and promises of the event loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.strategies.buy_and_hold import BuyAndHold
from feature_repo.trading.account import Account
from feature_repo.trading.costs import Costs
from feature_repo.trading.limits import Limits
from feature_repo.trading.market import Bar, Event, Funding, Row
from feature_repo.trading.money import UNIT, decimal_of, ppm, units
from feature_repo.trading.order import Action, Cancel, Kind, Order, Side
from feature_repo.trading.outcome import outcome_of
from feature_repo.trading.simulation import Simulation
from feature_repo.trading.streams import merged
from lake.errors import BadInput, WrongUse
from tests.trading.made import BTC, NOON_US, bar, flat_bars, quote, trade

CASH = units("1000")


class Script:
    """Does after each event, counted from 0, what is written for it."""

    name: ClassVar[str] = "script"

    def __init__(self, actions: Mapping[int, Action | str]) -> None:
        self._actions = actions
        self._at = -1

    def on_event(self, event: Event, account: Account) -> Sequence[Action]:
        self._at += 1
        action = self._actions.get(self._at)
        if action is None:
            return ()
        return (market(action),) if isinstance(action, str) else (action,)


def market(signed: str) -> Order:
    """Return a market order; -2 sells 2."""
    side: Side = "sell" if signed.startswith("-") else "buy"
    return Order(BTC, side, units(signed.lstrip("-")))


def test_ten_trades_computed_by_hand() -> None:
    """Each order is filled at the next bar, which has one price; the fee is 10 bp of the value."""
    prices = ["100", "102", "101", "105", "110", "108", "104", "100", "95", "97", "99"]
    sizes = ["1", "1", "-1", "-2", "0.5", "-1", "1.5", "3", "-1", "-2"]
    script = Script(dict(enumerate(sizes)))
    simulation = Simulation(script, cash=CASH, costs=Costs(taker=ppm("10")))
    record = simulation.run(flat_bars(prices))
    assert [decimal_of(each.fill.price) for each in record.fills] == list(map(Decimal, prices[1:]))
    fees = ["0.102", "0.101", "0.105", "0.22", "0.054", "0.104", "0.15", "0.285", "0.097", "0.198"]
    assert [decimal_of(each.fill.fee) for each in record.fills] == list(map(Decimal, fees))
    # 1 at 102 and 1 at 101 cost 101.5 each; half a short of 110 at 108; 1.5 short cost 106 each
    assert [decimal_of(each.realised) for each in record.fills] == [
        Decimal(won) for won in ["0", "0", "3.5", "8.5", "1", "0", "9", "0", "2", "8"]
    ]
    account = simulation.account
    assert decimal_of(account.realised) == 32
    assert decimal_of(account.fees) == Decimal("1.416")
    assert decimal_of(account.cash) == Decimal("1030.584")
    assert (account.positions, account.costs) == ({}, {})
    equity = [decimal_of(equity) for _, _, equity in record.moments]
    assert equity[:4] == [
        Decimal(1000),
        Decimal("999.898"),  # bought 1 at 102, which closes at 102
        Decimal("998.797"),  # 1000 - 102 - 101 - 0.203 + 2 x 101
        Decimal("1006.692"),  # 1000 - 203 + 105 - 0.308 + 105
    ]
    assert equity[-1] == Decimal("1030.584")


@given(st.lists(st.integers(1, 10**12), min_size=2, max_size=30), st.integers(0, 500))
def test_buy_and_hold_is_the_price_path_less_the_fee_to_the_cent(
    cents: list[int], fee_bp: int
) -> None:
    prices = [Decimal(each) / 100 for each in cents]
    costs = Costs(taker=ppm(str(fee_bp)))
    record = Simulation(BuyAndHold(), cash=CASH, costs=costs).run(flat_bars(list(map(str, prices))))
    fee = (prices[1] * fee_bp / 10_000).quantize(Decimal("1e-10"))
    for price, (_, _, equity) in zip(prices[1:], record.moments[1:], strict=True):
        assert decimal_of(equity) == 1000 + price - prices[1] - fee


def test_an_order_of_a_bar_is_never_filled_in_it() -> None:
    bars = [bar(0, "100 200 50 100"), bar(1, "120 120 120 120")]
    script = Script({0: Order(BTC, "buy", UNIT, "limit", units("60"))})
    record = Simulation(script, cash=CASH).run(bars)
    assert record.fills == []
    assert [each.state for each in record.orders] == ["accepted"]


def test_a_bar_known_late_is_acted_on_late() -> None:
    late = [each._replace(available_us=each.end_us + 1) for each in flat_bars(["1", "2", "3"])]
    record = Simulation(BuyAndHold(), cash=CASH).run(late)
    assert [decimal_of(each.fill.price) for each in record.fills] == [3]


def test_partial_fills_rejections_and_cancels_are_on_record() -> None:
    bars = [bar(n, "10 10 10 10", "4") for n in range(4)]
    resting = Order(BTC, "buy", UNIT, "limit", units("5"), client_id="resting")
    script = Script({0: market("6"), 1: resting, 2: Cancel(BTC, "resting")})
    simulation = Simulation(script, cash=CASH)
    record = simulation.run(bars)
    assert [decimal_of(each.fill.size) for each in record.fills] == [4, 2]
    assert [(each.state, decimal_of(each.filled)) for each in record.orders] == [
        ("filled", 6),
        ("cancelled", 0),
    ]
    assert simulation.account.working == {BTC: 0}


def test_funding_is_paid_by_who_is_long_and_got_by_who_is_short() -> None:
    """0.01 % of 2 x 50,000 is 10; half of it back from a short of 1."""
    due = NOON_US + 150_000_000
    fundings = [Funding(BTC, at, at, units("0.0001")) for at in (due, due + 120_000_000)]
    bars = flat_bars(["50000"] * 6)
    script = Script({0: market("2"), 3: market("-3")})
    simulation = Simulation(script, cash=units("200000"))
    record = simulation.run(merged([bars, fundings]))
    assert [decimal_of(paid) for _, paid in record.paid] == [10, -5]
    assert decimal_of(simulation.account.funding) == 5
    assert decimal_of(simulation.account.cash) == 200_000 - 5 + 50_000


def test_limits_refuse_before_an_order_goes_out() -> None:
    bars = flat_bars(["100", "100", "50", "50", "50"])
    limits = Limits(size=units("3"), exposure=units("250"), daily_loss=units("60"))
    script = Script({0: market("4"), 1: market("2"), 2: market("-1"), 3: market("1")})
    record = Simulation(script, cash=CASH, limits=limits).run(bars)
    assert [(each.state, each.reason.partition(":")[0]) for each in record.orders] == [
        ("rejected", "size"),
        ("filled", ""),
        ("filled", ""),
        ("filled", ""),
    ]
    script = Script({0: market("3")})
    record = Simulation(script, cash=CASH, limits=limits).run(bars)
    assert record.orders[0].reason == "exposure: the position would be above the limit"
    script = Script({0: market("2"), 2: market("1"), 3: market("-1")})
    fallen = flat_bars(["100", "100", "60", "60", "60"])
    record = Simulation(script, cash=CASH, limits=limits).run(fallen)
    assert [each.reason.partition(":")[0] for each in record.orders] == ["", "daily loss", ""]


def test_the_day_s_loss_is_forgotten_at_midnight_utc() -> None:
    limits = Limits(daily_loss=units("10"))
    bars = flat_bars(["100", "100", "60"]) + flat_bars(["60", "60"], first=12 * 60)
    script = Script({0: market("1"), 3: market("1")})
    record = Simulation(script, cash=CASH, limits=limits).run(bars)
    assert [each.state for each in record.orders] == ["filled", "filled"]


def test_quotes_and_trades_drive_a_run_as_bars_do() -> None:
    events = [
        quote(0, "99", "100"),
        quote(10, "101", "102"),
        trade(20, "105"),
        quote(30, "110", "111"),
    ]
    script = Script({0: market("1"), 2: market("-1")})
    simulation = Simulation(script, cash=CASH, costs=Costs(latency_us=5), by="quotes")
    record = simulation.run(events)
    assert [decimal_of(each.fill.price) for each in record.fills] == [100, 101]
    assert decimal_of(simulation.account.cash) == 1001


def test_the_equity_may_be_sampled() -> None:
    simulation = Simulation(BuyAndHold(), cash=CASH, sample_us=120_000_000)
    record = simulation.run(flat_bars(["1", "2", "3", "4", "5"]))
    assert [(time - NOON_US) // 60_000_000 for time, _, _ in record.moments] == [1, 3, 5]


def test_events_out_of_order_and_ids_twice_are_refused() -> None:
    with pytest.raises(BadInput, match="was known before the last"):
        Simulation(BuyAndHold(), cash=CASH).run(reversed(flat_bars(["1", "2"])))
    named = Order(BTC, "buy", UNIT, client_id="a")
    with pytest.raises(WrongUse, match="order a: is there already"):
        Simulation(Script({0: named, 1: named}), cash=CASH).run(flat_bars(["1", "2"]))


KINDS: tuple[Kind, ...] = ("market", "limit", "stop")


class Chance:
    """Sends orders of all kinds, by a sequence of numbers."""

    name: ClassVar[str] = "chance"

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = iter(numbers)

    def on_event(self, event: Event, account: Account) -> Sequence[Action]:
        n = next(self._numbers, 0)
        if type(event) is not Bar or not n:
            return ()
        side: Side = "buy" if n % 2 else "sell"
        near = event.close + (n % 7 - 3) * UNIT
        kind = KINDS[n % 3]
        price = None if kind == "market" else near
        return (
            Order(BTC, side, (n % 5 + 1) * UNIT, kind, price, ioc=n % 11 == 0 and kind != "stop"),
        )


NUMBERS = st.lists(st.integers(0, 1_000), min_size=5, max_size=40)


@settings(max_examples=50)
@given(NUMBERS, st.integers(0, 10_000))
def test_no_unit_is_lost_whatever_is_ordered(numbers: list[int], seed: int) -> None:
    """Equity is cash and positions; cash is what fills and fees made of it, to the last unit."""
    prices = [100 + (seed * (n + 1) ** 2 + n * 13) % 9 for n in range(len(numbers))]
    bars = [bar(n, f"{p} {p + 3} {p - 3} {p + 1}", "6") for n, p in enumerate(prices)]
    costs = Costs(maker=ppm("-1"), taker=ppm("7.5"), half_spread=ppm("1"), slippage=ppm("2"))
    simulation = Simulation(Chance(numbers), cash=CASH, costs=costs)
    record = simulation.run(bars)
    account = simulation.account
    fills = [each.fill for each in record.fills]
    assert account.positions.get(BTC, 0) == sum(each.signed for each in fills)
    spent = sum(each.price * each.signed // UNIT + each.fee for each in fills)
    assert account.cash == CASH - spent
    held = account.positions.get(BTC, 0)
    assert record.moments[-1][2] == account.cash + held * bars[-1].close // UNIT
    unrealised = held * bars[-1].close // UNIT - account.costs.get(BTC, 0)
    assert record.moments[-1][2] == CASH + account.realised + unrealised - account.fees
    for each in record.orders:
        done = sum(f.size for f in fills if f.client_id == each.order.client_id)
        assert done == each.filled <= each.order.size
    working = sum(
        each.order.signed * (each.order.size - each.filled) // each.order.size
        for each in record.orders
        if each.state in ("accepted", "partially_filled")
    )
    assert account.working.get(BTC, 0) == working


def test_a_record_as_tables() -> None:
    outcome = outcome_of(Simulation(BuyAndHold(), cash=CASH).run(flat_bars(["10", "12"])))
    assert outcome.fills.select(["price", "size", "side"]).to_pylist() == [
        {"price": Decimal(12), "size": Decimal(1), "side": "buy"}
    ]
    assert outcome.equity["equity"].to_pylist() == [Decimal(1000), Decimal(1000)]
    assert outcome.orders["state"].to_pylist() == ["filled"]
    assert (outcome.orders["price"].null_count, outcome.funding.num_rows) == (1, 0)


def test_rows_of_values_reach_a_strategy_when_they_were_known() -> None:
    rows = [Row(BTC, NOON_US, NOON_US + 90_000_000, {"prediction": 1.0})]
    seen = [type(each).__name__ for each in merged([flat_bars(["1", "2"]), rows])]
    assert seen == ["Bar", "Row", "Bar"]

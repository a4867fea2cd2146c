"""The paper broker: as every broker, and fill for fill as a backtest."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.trading.account import Account
from feature_repo.trading.costs import Costs
from feature_repo.trading.market import Event, Quote, Trade
from feature_repo.trading.money import units
from feature_repo.trading.order import Action, Cancel, Ended, Fill, Order
from feature_repo.trading.simulation import Simulation
from serving.broker.broker import BrokerReport
from serving.broker.paper_broker import PaperBroker
from tests.serving.broker_conformance import BTC, BrokerConformance, order, said

MOMENT_US = 1_000


class PaperMarket:
    """A market of paper, in which time goes on by a millisecond an event."""

    def __init__(self, costs: Costs) -> None:
        self.broker = PaperBroker(costs)
        self.now_us = 1_700_000_000_000_000

    def quote(self, bid: str, ask: str, size: str = "10") -> None:
        self.now_us += MOMENT_US
        sizes = units(size)
        times = self.now_us, self.now_us
        self.broker.on_quote(Quote(BTC, *times, units(bid), sizes, units(ask), sizes))

    def trade(self, price: str, size: str) -> None:
        self.now_us += MOMENT_US
        self.broker.on_trade(Trade(BTC, self.now_us, self.now_us, units(price), units(size)))

    def reports(self) -> list[BrokerReport]:
        self.now_us += MOMENT_US
        self.broker.settle(self.now_us)
        return list(self.broker.reports(self.now_us))


@pytest.fixture
def market() -> PaperMarket:
    return PaperMarket(Costs(maker=1_000, taker=1_000))


class TestPaper(BrokerConformance):
    """The paper broker is one of them."""


def test_an_amended_order_is_another_from_then_on(market: PaperMarket) -> None:
    market.quote("99", "101")
    market.broker.place(order("a", kind="limit", price="98"), market.now_us)
    market.quote("99", "101", size="0.3")
    market.broker.amend("a", "amended 3", units("100"), units("2"), market.now_us)
    market.broker.amend("a", "amended 3", units("100"), units("2"), market.now_us)
    market.trade("99.5", "0.2")
    assert said(market.reports()) == ["accepted", "amended", "0.2 at 100 maker"]
    market.broker.amend("a", "amended 5", units("101"), None, market.now_us)
    market.quote("99", "101", size="0.5")
    assert said(market.reports()) == ["amended", "0.3 at 101 taker", "0.5 at 101 maker"]
    market.broker.amend("a", "amended 7", None, units("0.7"), market.now_us)
    assert said(market.reports()) == ["unamended"]
    market.broker.amend("a", "amended 8", None, units("1.2"), market.now_us)
    market.quote("99", "101", size="9")
    assert said(market.reports()) == ["amended", "0.2 at 101 maker"]
    assert market.broker.working() == []
    for name in ("a", "never"):
        market.broker.amend(name, "amended 9", None, units("3"), market.now_us)
    assert said(market.reports()) == []


def test_a_stop_that_was_set_off_keeps_its_price(market: PaperMarket) -> None:
    market.quote("99", "101")
    market.broker.place(order("a", kind="stop", price="105"), market.now_us)
    market.quote("104", "105", size="0.4")
    market.broker.amend("a", "amended 3", units("110"), None, market.now_us)
    assert said(market.reports())[-2:] == ["0.4 at 105 taker", "unamended"]


def test_an_order_is_at_the_venue_after_the_latency() -> None:
    market = PaperMarket(Costs(latency_us=2_500))
    market.quote("99", "101")
    market.broker.place(order("a"), market.now_us)
    market.quote("99", "102")
    market.quote("99", "103")
    assert list(market.broker.reports(market.now_us)) == []
    market.quote("99", "104")
    accepted, fill = market.broker.reports(market.now_us)
    assert isinstance(fill, Fill)
    assert (accepted.time_us, fill.time_us) == (market.now_us - 500, market.now_us - 500)
    assert fill.price == units(103)


def test_orders_of_before_a_restart_go_on_where_they_were() -> None:
    market = PaperMarket(Costs())
    resting, sent = order("a", kind="limit", price="100"), order("b", size="2")
    placed_us = market.now_us
    market.broker.restore([(resting, placed_us, units("0.4"), True), (sent, placed_us, 0, False)])
    market.broker.place(sent, market.now_us)
    market.quote("98", "100", size="5")
    assert said(market.reports()) == ["accepted", "0.6 at 100 maker", "2 at 100 taker"]
    assert market.broker.working() == []


class Chance:
    """Sends orders by chance, seeded: as a strategy, and the same ones to a broker."""

    name: ClassVar[str] = "chance"

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._number = 0

    def on_event(self, event: Event, account: Account) -> Sequence[Action]:
        chance = self._chance
        if not isinstance(event, Quote) or chance.random() < 0.5:
            return ()
        if self._number and chance.random() < 0.2:
            return (Cancel(BTC, f"c-{chance.randint(1, self._number)}"),)
        self._number += 1
        kind = chance.choice(("market", "limit", "stop"))
        price = None if kind == "market" else units(100 + chance.randint(-3, 3))
        ioc = kind != "stop" and chance.random() < 0.2
        post_only = kind == "limit" and not ioc and chance.random() < 0.3
        side = chance.choice(("buy", "sell"))
        size = units(chance.randint(1, 20)) // 10
        return (Order(BTC, side, size, kind, price, ioc, post_only, f"c-{self._number}"),)


def events_of(seed: int, count: int = 120) -> list[Event]:
    chance = random.Random(seed)
    events: list[Event] = []
    time_us = 1_700_000_000_000_000
    for _ in range(count):
        time_us += chance.randint(1, 2_000)
        bid = units(100 + chance.randint(-3, 2))
        if chance.random() < 0.3:
            events.append(Trade(BTC, time_us, time_us, bid, units(chance.randint(1, 5)) // 10))
        else:
            sizes = units(chance.randint(1, 9)) // 10, units(chance.randint(1, 9)) // 10
            events.append(Quote(BTC, time_us, time_us, bid, sizes[0], bid + units(1), sizes[1]))
    return events


@given(st.integers(0, 10**6), st.sampled_from([0, 500, 3_000]))
@settings(max_examples=60, deadline=None)
def test_it_fills_as_a_backtest_does(seed: int, latency_us: int) -> None:
    events = events_of(seed)
    costs = Costs(maker=-50, taker=700, slippage=300, latency_us=latency_us)
    record = Simulation(Chance(seed), cash=units(10**6), costs=costs, by="quotes").run(events)
    strategy, account, broker = Chance(seed), Account(0), PaperBroker(costs)
    found: list[BrokerReport] = []
    for event in events:
        if isinstance(event, Quote):
            broker.on_quote(event)
        elif isinstance(event, Trade):
            broker.on_trade(event)
        found += broker.reports(event.available_us)
        for action in strategy.on_event(event, account):
            if isinstance(action, Order):
                broker.place(action, event.available_us)
            else:
                broker.cancel(action.client_id, event.available_us)
    assert [each for each in found if isinstance(each, Fill)] == [b.fill for b in record.fills]
    ended = {each.client_id: (each.state, each.reason) for each in found if isinstance(each, Ended)}
    assert ended == {
        each.order.client_id: (each.state, each.reason)
        for each in record.orders
        if each.state in ("cancelled", "rejected", "expired")
    }

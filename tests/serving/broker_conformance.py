"""What any broker must do (serving.broker.broker); a test module says which one it is held to.

A subclass gives a Harness: a broker, and a market of ours around it in which it can be tried.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import pytest

from feature_repo.trading.market import Instrument
from feature_repo.trading.money import units
from feature_repo.trading.order import Ended, Fill, Kind, Order, Side
from lake.errors import Refused, WrongUse
from serving.broker.broker import Accepted, Amended, Broker, BrokerReport, Unamended

BTC = Instrument("X:BTCUSD", "sim", "spot")


class Harness(Protocol):
    """A broker and its market. now_us: the market's time, in UTC microseconds."""

    broker: Broker
    now_us: int

    def quote(self, bid: str, ask: str, size: str = "10") -> None:
        """Make this the best bid and ask, with so much on both sides, some moments later."""

    def trade(self, price: str, size: str) -> None:
        """Let others trade, some moments later."""

    def reports(self) -> list[BrokerReport]:
        """Return what the broker says once everything that is under way has happened."""


def order(
    client_id: str,
    side: Side = "buy",
    size: str = "1",
    kind: Kind = "market",
    price: str | None = None,
    *,
    ioc: bool = False,
    post_only: bool = False,
) -> Order:
    at = None if price is None else units(price)
    return Order(BTC, side, units(size), kind, at, ioc, post_only, client_id)


def said(reports: list[BrokerReport]) -> list[str]:
    """Return reports as words."""
    words = []
    for each in reports:
        if isinstance(each, Accepted):
            words.append("accepted")
        elif isinstance(each, Fill):
            side = "maker" if each.maker else "taker"
            words.append(f"{each.size / 10**10:g} at {each.price / 10**10:g} {side}")
        elif isinstance(each, Amended | Unamended):
            words.append(type(each).__name__.lower())
        else:
            words.append(each.state)
    return words


class BrokerConformance:
    """Tests of a broker; a subclass has the fixture `market`, a Harness with fees and no delay.

    amends: the venue amends orders; where it does not, each amendment is refused.
    """

    amends: ClassVar[bool] = True

    def test_a_market_order_takes_what_stands_there_and_then_waits(self, market: Harness) -> None:
        market.quote("99", "101", size="0.4")
        market.broker.place(order("a"), market.now_us)
        market.quote("99", "102", size="5")
        assert said(market.reports()) == ["accepted", "0.4 at 101 taker", "0.6 at 102 taker"]
        assert market.broker.working() == []

    def test_a_limit_rests_and_is_filled_at_its_price(self, market: Harness) -> None:
        market.quote("99", "101")
        market.broker.place(order("a", kind="limit", price="100"), market.now_us)
        market.quote("98", "100", size="0.3")
        market.trade("99.5", "0.2")
        assert said(market.reports()) == ["accepted", "0.3 at 100 maker", "0.2 at 100 maker"]
        assert market.broker.working() == ["a"]

    def test_a_stop_waits_for_its_price_and_takes_then(self, market: Harness) -> None:
        market.quote("99", "101")
        market.broker.place(order("a", kind="stop", price="105"), market.now_us)
        market.quote("103", "104")
        assert said(market.reports()) == ["accepted"]
        market.quote("105", "106")
        assert said(market.reports()) == ["1 at 106 taker"]

    def test_ioc_takes_at_once_and_the_rest_is_cancelled(self, market: Harness) -> None:
        market.quote("99", "101", size="0.4")
        market.broker.place(order("a", kind="limit", price="101", ioc=True), market.now_us)
        market.quote("99", "101", size="5")
        assert said(market.reports()) == ["accepted", "0.4 at 101 taker", "cancelled"]

    def test_post_only_is_refused_where_it_would_take(self, market: Harness) -> None:
        market.quote("99", "101")
        taking = order("a", kind="limit", price="101", post_only=True)
        market.broker.place(taking, market.now_us)
        market.broker.place(order("b", kind="limit", price="99", post_only=True), market.now_us)
        market.quote("98", "99", size="5")
        assert said([each for each in market.reports() if each.client_id == "a"]) == ["rejected"]
        assert market.broker.working() == []

    def test_the_same_id_is_the_same_order(self, market: Harness) -> None:
        market.quote("99", "101")
        for _ in range(3):
            market.broker.place(order("a"), market.now_us)
        market.quote("99", "101")
        market.broker.place(order("a"), market.now_us)
        market.quote("99", "101")
        assert said(market.reports()) == ["accepted", "1 at 101 taker"]
        with pytest.raises(WrongUse, match="another"):
            market.broker.place(order("a", size="2"), market.now_us)

    def test_a_cancel_ends_what_is_left_and_may_come_twice_or_for_nothing(
        self, market: Harness
    ) -> None:
        market.quote("99", "101")
        market.broker.place(order("a", kind="limit", price="100"), market.now_us)
        market.quote("98", "100", size="0.3")
        for client_id in ("a", "a", "never"):
            market.broker.cancel(client_id, market.now_us)
        market.quote("98", "100")
        assert said(market.reports()) == ["accepted", "0.3 at 100 maker", "cancelled"]
        market.broker.cancel("a", market.now_us)
        assert said(market.reports()) == []

    def test_all_that_works_is_cancelled_at_once(self, market: Harness) -> None:
        market.quote("99", "101")
        for i in range(3):
            market.broker.place(order(str(i), kind="limit", price=f"{90 + i}"), market.now_us)
        market.reports()
        market.broker.cancel_all(market.now_us)
        ended = [each for each in market.reports() if isinstance(each, Ended)]
        assert sorted(each.client_id for each in ended) == ["0", "1", "2"]
        assert market.broker.working() == []

    def test_an_amendment_is_sent_once_or_refused_and_the_order_is_as_it_was(
        self, market: Harness
    ) -> None:
        market.quote("99", "101")
        market.broker.place(order("a", kind="limit", price="98", size="2"), market.now_us)
        assert said(market.reports()) == ["accepted"]
        wish = units("97"), units("1.5")
        for _ in range(2):  # its answer may have been lost
            if self.amends:
                market.broker.amend("a", "amended 3", *wish, market.now_us)
            else:
                with pytest.raises(Refused):
                    market.broker.amend("a", "amended 3", *wish, market.now_us)
        amended = [each for each in market.reports() if isinstance(each, Amended)]
        told = [(each.amendment, each.price, each.size) for each in amended]
        assert told == ([("amended 3", *wish)] if self.amends else [])
        market.quote("97", "98", size="1")
        if not self.amends:
            assert said(market.reports()) == ["1 at 98 maker"]
            assert market.broker.working() == ["a"]
            return
        assert said(market.reports()) == []
        market.quote("96", "97", size="9")
        assert said(market.reports()) == ["1.5 at 97 maker"]
        market.broker.amend("a", "amended 5", None, units("9"), market.now_us)  # it is done
        market.broker.amend("never", "amended 2", None, units("9"), market.now_us)
        assert said(market.reports()) == []
        assert market.broker.working() == []

    def test_what_is_filled_already_is_not_amended_away(self, market: Harness) -> None:
        if not self.amends:
            return
        market.quote("99", "101")
        market.broker.place(order("a", kind="limit", price="100", size="2"), market.now_us)
        market.quote("98", "100", size="0.8")
        assert said(market.reports()) == ["accepted", "0.8 at 100 maker"]
        market.broker.amend("a", "amended 4", None, units("0.5"), market.now_us)
        (report,) = market.reports()
        assert isinstance(report, Unamended)
        assert report.amendment == "amended 4"
        assert market.broker.working() == ["a"]

    def test_every_fill_has_its_fee_and_none_passes_the_size(self, market: Harness) -> None:
        market.quote("99", "101", size="0.3")
        market.broker.place(order("a", "sell"), market.now_us)
        for _ in range(5):
            market.quote("99", "101", size="0.3")
        fills = [each for each in market.reports() if isinstance(each, Fill)]
        assert sum(each.size for each in fills) == units(1)
        assert sum(each.fee for each in fills) == units("0.099")  # 10 bp of 99
        assert all(each.side == "sell" for each in fills)

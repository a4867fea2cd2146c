"""Issue 6, part 6, and issue 7, part 5: how orders meet bars and quotes, one rule a test."""

from __future__ import annotations

import pytest

from feature_repo.trading.costs import Costs
from feature_repo.trading.market import Bar
from feature_repo.trading.matching import Matcher
from feature_repo.trading.money import MILLION, decimal_of, ppm, units
from feature_repo.trading.order import Ended, Fill, Kind, Order, Report, Side
from lake.errors import WrongUse
from tests.trading.made import BTC, MINUTE_US, NOON_US, bar, quote, trade


def order(side: Side, size: str, kind: Kind = "market", price: str = "", **more: bool) -> Order:
    limit = units(price) if price else None
    return Order(BTC, side, units(size), kind, limit, client_id="a", **more)


def said(reports: list[Report]) -> list[str]:
    """Return reports in words: price x size, with an m where it was the maker; or the end."""
    return [
        f"{decimal_of(each.price):f}".rstrip("0").rstrip(".")
        + f" x {decimal_of(each.size).normalize():f}"
        + (" m" if each.maker else "")
        if isinstance(each, Fill)
        else each.state
        for each in reports
    ]


def on_bars(what: Order, *bars: Bar, costs: Costs | None = None) -> list[list[str]]:
    matcher = Matcher(costs or Costs())
    matcher.place(what, NOON_US)
    return [said(matcher.on_bar(each)) for each in bars]


FIRST = bar(0, "100 110 90 105")
SECOND = bar(1, "104 120 80 100")


@pytest.mark.parametrize(
    ("what", "first", "second"),
    [
        (order("buy", "1"), ["100 x 1"], []),
        (order("sell", "1"), ["100 x 1"], []),
        (order("buy", "1", "limit", "95"), ["95 x 1 m"], []),
        (order("buy", "1", "limit", "90"), [], ["90 x 1 m"]),  # a touch is no fill
        (order("buy", "1", "limit", "101"), ["100 x 1"], []),  # takes, and is the better for it
        (order("sell", "1", "limit", "115"), [], ["115 x 1 m"]),
        (order("buy", "1", "limit", "101", post_only=True), ["rejected"], []),
        (order("buy", "1", "limit", "95", post_only=True), ["95 x 1 m"], []),
        (order("buy", "1", "limit", "95", ioc=True), ["cancelled"], []),
        (order("buy", "1", "limit", "101", ioc=True), ["100 x 1"], []),
        (order("buy", "1", "stop", "108"), ["108 x 1"], []),
        (order("buy", "1", "stop", "115"), [], ["115 x 1"]),
        (order("sell", "1", "stop", "95"), ["95 x 1"], []),
        (order("sell", "1", "stop", "85"), [], ["85 x 1"]),
        (order("sell", "1", "stop", "101"), ["100 x 1"], []),  # a gap: the worse of the two
    ],
)
def test_orders_meet_bars(what: Order, first: list[str], second: list[str]) -> None:
    assert on_bars(what, FIRST, SECOND) == [first, second]


def test_a_bar_fills_no_more_than_its_volume_and_the_rest_waits() -> None:
    thin, thick = bar(0, "100 110 90 105", "2"), bar(1, "104 120 80 100", "8")
    half = Costs(participation=MILLION // 2)
    assert on_bars(order("buy", "3"), thin, thick, costs=half) == [["100 x 1"], ["104 x 2"]]
    taken = order("buy", "3", ioc=True)
    assert on_bars(taken, thin, costs=half) == [["100 x 1", "cancelled"]]
    assert on_bars(order("buy", "1"), bar(0, "1 1 1 1", "0"), SECOND) == [[], ["104 x 1"]]


def test_an_order_waits_for_the_first_open_after_it_arrives() -> None:
    late = Costs(latency_us=1)
    assert on_bars(order("buy", "1"), FIRST, SECOND, costs=late) == [[], ["104 x 1"]]


def test_a_taker_pays_spread_and_slippage_and_its_fee_a_maker_its_own() -> None:
    costs = Costs(maker=ppm("-1"), taker=ppm("10"), half_spread=ppm("20"), slippage=ppm("30"))
    matcher = Matcher(costs)
    matcher.place(order("buy", "2"), NOON_US)
    (bought,) = matcher.on_bar(FIRST)
    assert isinstance(bought, Fill)
    assert (bought.price, bought.fee) == (units("100.5"), units("0.201"))
    matcher.place(order("sell", "2", "limit", "115"), NOON_US)
    (sold,) = matcher.on_bar(SECOND)
    assert isinstance(sold, Fill)
    assert (sold.price, sold.fee, sold.maker) == (units("115"), units("-0.023"), True)


def test_a_cancel_that_arrives_in_time_ends_an_order() -> None:
    matcher = Matcher(Costs(latency_us=MINUTE_US))
    matcher.place(order("buy", "1", "limit", "50"), NOON_US - MINUTE_US)
    assert matcher.on_bar(FIRST) == []
    matcher.cancel("a", NOON_US)
    assert [type(each) for each in matcher.on_bar(SECOND)] == [Ended]
    assert matcher.working == []
    matcher.cancel("a", NOON_US)  # nothing works any more


def test_an_order_ends_once_where_a_quote_is_matched_twice() -> None:
    matcher = Matcher(Costs())
    matcher.on_quote(quote(0, "99", "100"))
    matcher.place(order("buy", "1", "limit", "50"), NOON_US + 10)
    matcher.on_quote(quote(20, "99", "100"))
    matcher.cancel("a", NOON_US + 30)
    assert [type(each) for each in matcher.on_quote(quote(40, "99", "100"))] == [Ended]
    matcher.place(order("buy", "1"), NOON_US + 50)
    matcher.cancel("a", NOON_US + 60)
    assert said(matcher.on_quote(quote(60, "99", "100"))) == ["100 x 1"]


def test_what_is_due_is_done_without_an_event_and_a_later_one_finds_it_done() -> None:
    matcher = Matcher(Costs())
    assert matcher.on_time(NOON_US) == []
    matcher.on_quote(quote(0, "99", "100"))
    matcher.place(order("buy", "1"), NOON_US + 10)
    assert matcher.on_time(NOON_US + 9) == []
    assert said(matcher.on_time(NOON_US + 10)) == ["100 x 1"]
    assert matcher.on_quote(quote(20, "99", "100")) == []


def test_quotes_fill_up_to_what_stands_there_and_the_rest_waits_for_the_next() -> None:
    matcher = Matcher(Costs())
    assert matcher.on_quote(quote(0, "99", "100", ask_size="2")) == []
    matcher.place(order("buy", "5"), NOON_US + 10)
    assert said(matcher.on_quote(quote(20, "100", "101", ask_size="1"))) == ["100 x 2", "101 x 1"]
    assert said(matcher.on_quote(quote(30, "100", "102", ask_size="9"))) == ["102 x 2"]


def test_an_order_meets_the_quote_that_stands_when_it_arrives_not_when_it_was_sent() -> None:
    matcher = Matcher(Costs(latency_us=15))
    matcher.on_quote(quote(0, "99", "100"))
    matcher.place(order("buy", "1"), NOON_US)
    assert matcher.on_quote(quote(10, "100", "101")) == []
    assert said(matcher.on_quote(quote(20, "101", "102"))) == ["101 x 1"]


def test_a_limit_takes_what_is_at_its_price_and_then_rests() -> None:
    matcher = Matcher(Costs(slippage=ppm("100")))
    matcher.on_quote(quote(0, "99", "100", ask_size="1"))
    matcher.place(order("buy", "3", "limit", "100.5"), NOON_US + 1)
    assert said(matcher.on_quote(quote(2, "99", "101"))) == ["100.5 x 1"]  # no worse than its limit
    assert said(matcher.on_trade(trade(3, "100.5"))) == []
    assert said(matcher.on_trade(trade(4, "100.4", "0.5"))) == ["100.5 x 0.5 m"]
    assert said(matcher.on_quote(quote(5, "99", "100.2", ask_size="9"))) == ["100.5 x 1.5 m"]


def test_post_only_ioc_and_stop_against_quotes() -> None:
    matcher = Matcher(Costs())
    matcher.on_quote(quote(0, "99", "100"))
    matcher.place(order("buy", "1", "limit", "100", post_only=True), NOON_US + 1)
    assert said(matcher.on_quote(quote(2, "99", "100"))) == ["rejected"]
    matcher.place(order("buy", "2", "limit", "100", ioc=True), NOON_US + 3)
    assert said(matcher.on_quote(quote(4, "99", "100"))) == ["100 x 1", "cancelled"]
    matcher.place(order("sell", "1", "stop", "98"), NOON_US + 5)
    assert said(matcher.on_quote(quote(6, "99", "100"))) == []
    assert said(matcher.on_quote(quote(7, "97", "98"))) == ["97 x 1"]


def test_orders_that_make_no_sense_are_refused() -> None:
    with pytest.raises(WrongUse, match="has no size"):
        order("buy", "0")
    with pytest.raises(WrongUse, match="limit order: has none"):
        order("buy", "1", "limit")
    with pytest.raises(WrongUse, match="market order: has a price"):
        order("buy", "1", "market", "1")
    with pytest.raises(WrongUse, match="post-only order: would take"):
        order("buy", "1", post_only=True)
    with pytest.raises(WrongUse, match="never filled at once"):
        order("buy", "1", "stop", "1", ioc=True)
    with pytest.raises(WrongUse, match="a rate is not within"):
        Costs(slippage=-1)
    with pytest.raises(WrongUse, match="latency"):
        Costs(latency_us=-1)
    with pytest.raises(WrongUse, match="participation"):
        Costs(participation=0)

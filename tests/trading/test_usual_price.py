"""A price that jumps is told from one that moves, and holds a stop back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from feature_repo.trading.costs import Costs
from feature_repo.trading.market import Instrument, Quote
from feature_repo.trading.matching import Matcher
from feature_repo.trading.money import UNIT
from feature_repo.trading.order import Fill, Order
from feature_repo.trading.usual_price import UsualPrice

BTC = Instrument("X:BTCUSD", "sim", "spot")
S = 1_000_000


def said(*prices: tuple[float, int]) -> UsualPrice:
    """Return what was told these (second, price)."""
    usual = UsualPrice()
    for second, price in prices:
        usual.note(price, int(second * S))
    return usual


def test_it_is_the_median_of_ten_seconds_before_the_newest() -> None:
    assert said().value() is None
    assert said((1, 100), (1.9, 900)).value() is None  # nothing is before it
    assert said(*((n, 100 + n) for n in range(30))).value() == 123
    assert said((1, 100), (2, 101), (3, 900)).value() == 100
    assert said((1, 100), (60, 900), (60.5, 901)).value() == 100  # the last before the silence
    assert said((1, 100), (60, 900), (61, 901)).value() == 900  # said twice, it holds


@given(st.integers(20, 10**6), st.lists(st.integers(95, 105), min_size=9, max_size=9))
def test_a_few_jumps_never_change_it_and_a_move_does(jump: int, calm: list[int]) -> None:
    prices = [100, *calm, jump * 100, jump * 100]
    assert 95 <= (said(*enumerate(prices)).value() or 0) <= 105
    moved = said(*enumerate([*calm, *[jump * 100] * 7]))
    assert moved.value() == jump * 100


def test_a_stop_waits_until_the_price_holds() -> None:
    usual = said((0, 100 * UNIT))
    matcher = Matcher(Costs(), lambda price: price < (usual.value() or 0) * 95 // 100)
    matcher.place(Order(BTC, "sell", UNIT, "stop", 98 * UNIT, client_id="s"), 0)

    def sees(second: int, bid: int) -> list[object]:
        usual.note(bid * UNIT, second * S)
        at_us = second * S
        quote = Quote(BTC, at_us, at_us, bid * UNIT, 9 * UNIT, (bid + 1) * UNIT, 9 * UNIT)
        return list(matcher.on_quote(quote))

    assert [sees(n, bid) for n, bid in enumerate([100, 99, 99, 50, 99, 50, 50, 50], 1)] == [[]] * 8
    for second in range(9, 14):
        found = sees(second, 50)
        if found:
            break
    (fill,) = found
    assert isinstance(fill, Fill)
    assert (fill.price, second) == (50 * UNIT, 10)

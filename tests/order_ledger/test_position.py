"""A position is what its fills make of it, with the cost the backtest would give it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from feature_repo.ledger.commands import Cash, Mark
from feature_repo.ledger.order_event import OrderEvent
from feature_repo.ledger.position import Following, PositionEvent, booked, noted, value_of
from feature_repo.trading.account import Account
from feature_repo.trading.order import Fill
from tests.order_ledger.orders import BTC, ONE, START_US

FILLS = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell"]), st.integers(1, 1000 * ONE), st.integers(1, 3 * ONE)
    ),
    max_size=12,
)


@given(FILLS)
def test_the_same_as_the_backtests_account(fills: list[tuple[str, int, int]]) -> None:
    account = Account(1000 * ONE)
    last: PositionEvent | None = None
    cash = 1000 * ONE
    for number, (side, price, size) in enumerate(fills, 1):
        fill = OrderEvent(
            *(number, "o", number, "partially_filled", START_US, "desk", "c", str(number)),
            *(BTC, side, "limit", price, size, 7, "maker", "{}", START_US),
        )
        last = booked(last, fill, Following(number, START_US, cash))
        cash = last.cash_after
        account.apply(Fill("c", BTC, START_US, side, price, size, 7, True))
        held = account.positions.get(BTC, 0)
        assert (last.size_after, last.cost_after) == (held, account.costs.get(BTC, 0))
        assert (last.realised_after, last.fees_after) == (account.realised, account.fees)
        assert (cash, last.sequence_number) == (account.cash, number)
        account.marks[BTC] = price
        assert cash + value_of(last) == account.equity()


def test_marks_and_money_leave_the_rest_as_it_is() -> None:
    money = noted(None, Cash("desk", 500 * ONE, START_US, "in"), Following(1, START_US, 0))
    assert (money.event_type, money.cash_after) == ("moved", 500 * ONE)
    mark = Mark("desk", BTC, 90 * ONE, START_US, "m1")
    marked = noted(None, mark, Following(2, START_US, money.cash_after))
    assert (marked.event_type, marked.cash_after, value_of(marked)) == ("marked", 500 * ONE, 0)

"""An order that is asked for again, or to be changed: the one there is, and never a second."""

from __future__ import annotations

from feature_repo.ledger.order_state import OrderState
from feature_repo.trading.order import Order
from lake.errors import Refused, TicklakeError, Unavailable, WrongUse
from serving.desk.lead import ANSWER_S_MAX
from serving.desk.ledger_to_state import asked_for
from serving.desk.rows import order_row
from serving.desk.said import Placed
from serving.desk.term import Held


def same_again(other: Held, order: Order) -> Placed:
    """Wait for an order that another caller is placing, and return it."""
    other.known.wait(ANSWER_S_MAX)
    if other.state is None:
        fault = "was asked for at the same time, and failed"
        raise Unavailable(f"order {order.client_id}", fault, "ask again")
    return placed_before(other.state, order)


def placed_before(state: OrderState, order: Order) -> Placed:
    """Return an order that is durable, as it stands; Refused where its id is another order's."""
    if asked_for(state.first) != order:
        fault, remedy = "is another order", "another order needs another id"
        raise Refused(f"order {order.client_id}", fault, remedy)
    return Placed(order_row(state), False)


def does_not_work(state: OrderState | None, name: str, what: str) -> TicklakeError:
    """Return why an order can't be changed by whoever wants to: it is not there, or done."""
    thing = f"order {name}"
    if state is None:
        return WrongUse(thing, "is not there", "see /v1/orders")
    return Refused(thing, f"is {state.state}", f"nothing is left to {what}")

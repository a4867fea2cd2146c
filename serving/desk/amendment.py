"""Another price or size for an order that works: asked of limits and broker, one at a time.

It is an event once the broker says that it is so. Who asks may name the event that the order is at:
where it has moved on, nothing is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from feature_repo.ledger.order_state import LEGAL, OrderState
from feature_repo.trading.order import Order
from lake.errors import Refused, WrongUse
from serving.desk.ledger_to_state import order_of
from serving.desk.market import Seen
from serving.desk.rows import order_row
from serving.desk.said import Refusal, Row
from serving.desk.term import Held, Term
from serving.risk.limits import Asked


@dataclass(frozen=True, slots=True)
class Wish:
    """None: as it is; expected_sequence None: whatever event the order is at."""

    price: int | None = None
    size: int | None = None
    expected_sequence: int | None = None


def is_expected(state: OrderState, sequence: int | None) -> None:
    """Raise Refused where an order is not at the event that somebody saw; None: any will do."""
    if sequence not in (None, state.sequence_number):
        fault = f"is at event {state.sequence_number}, not {sequence}"
        raise Refused(f"order {state.first.client_order_id}", fault, "read it again")


def begin(term: Term, held: Held, wish: Wish, seen: Seen, now_us: int) -> Refusal | None:
    """Ask the limits, then the broker; the lock of the term is held. Returns what the limits
    refused, None where it is under way; raises Refused.

    What is left of the order, as it would be, counts against the limits as an order of its own,
    and is kept as one, under a name that nobody can give, where they refuse it.
    """
    state = held.state
    assert state is not None
    order = _amended(held, state, wish)
    left, before = order.size - state.filled, state.size - state.filled
    term.work(held, -before)
    try:
        rest = replace(order, size=left)
        if seen.price is not None:
            term.account.marks[order.instrument] = seen.price.value
        asked = Asked(rest, term.account, seen.price, now_us, *seen[1:])
        breaches = term.risk.amended(asked)
        if breaches:
            name = f"{order.client_id} amended {state.sequence_number + 1} at {now_us}"
            return Refusal(replace(rest, client_id=name), breaches, now_us)
        held.amendment, held.amend_fault = f"amended {state.sequence_number + 1}", ""
        held.answered.clear()
        name = order.client_id
        term.venue.broker.amend(name, held.amendment, wish.price, wish.size, now_us)
    except BaseException:
        held.amendment = ""
        raise
    else:
        held.more = max(0, left - before)
        term.work(held, held.more)
    finally:
        term.work(held, before)
    return None


def outcome(held: Held) -> Row:
    """Return the order as it stands; Refused where the broker said that it stays as it was."""
    assert held.state is not None
    if held.amend_fault:
        raise Refused(f"order {held.order.client_id}", held.amend_fault, "read it again")
    return order_row(held.state)


def _amended(held: Held, state: OrderState, wish: Wish) -> Order:
    """Return the order as it would be."""
    thing = f"order {held.order.client_id}"
    is_expected(state, wish.expected_sequence)
    if wish.price is None and wish.size is None:
        raise WrongUse(thing, "is to be amended in nothing", "give a price or a size")
    if held.amendment:
        raise Refused(thing, "is being amended", "read it again")
    if "amended" not in LEGAL[state.state]:
        raise Refused(thing, f"is {state.state}", "amend one that is accepted and not done")
    if wish.price is not None and held.order.kind == "market":
        raise WrongUse(thing, "is a market order, without a price", "amend its size")
    if wish.size == 0:
        raise WrongUse(thing, "is to have no size", "give one above zero, or cancel it")
    if wish.size is not None and wish.size <= state.filled:
        raise Refused(thing, "is filled by so much already", "cancel it, or give a larger size")
    order = order_of(state)
    price = order.price if wish.price is None else wish.price
    return replace(order, price=price, size=wish.size or order.size)

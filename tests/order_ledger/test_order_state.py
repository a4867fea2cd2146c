"""An order is what its events make of it, and nothing that its state does not allow."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.ledger.chain import GENESIS, amount_text, canonical, link
from feature_repo.ledger.commands import Change, Place
from feature_repo.ledger.order_event import OrderEvent
from feature_repo.ledger.order_state import LEGAL, OrderState, decide, folded, opened
from lake.errors import BadInput, Refused
from tests.order_ledger.orders import ONE, START_US, change, fill, place

TYPES = ("accepted", "amended", "filled", "cancelled", "rejected", "expired")


def run(*commands: Place | Change) -> list[OrderEvent]:
    """Return the events of commands for one order."""
    order: OrderState | None = None
    events = []
    for number, command in enumerate(commands, 1):
        event, new = decide(order, command, event_id=number, created_us=START_US + number)
        assert new
        events.append(event)
        if order is None:
            order = opened(event)
        else:
            order.apply(event)
    return events


def state_after(*commands: Place | Change) -> OrderState:
    (order,) = folded(run(*commands)).values()
    return order


ACCEPTED = (place("a"), change("a", "accepted"))
REACHED = {
    "created": (place("a"),),
    "accepted": ACCEPTED,
    "partially_filled": (*ACCEPTED, fill("a", ONE // 4)),
    "filled": (*ACCEPTED, fill("a")),
    "cancelled": (*ACCEPTED, change("a", "cancelled")),
    "rejected": (place("a"), change("a", "rejected")),
    "expired": (*ACCEPTED, change("a", "expired")),
}


@pytest.mark.parametrize("state", REACHED)
@pytest.mark.parametrize("event_type", TYPES)
def test_each_state_takes_what_is_legal_and_nothing_else(state: str, event_type: str) -> None:
    order = state_after(*REACHED[state])
    assert order.state == state
    wanted = change("a", event_type, "another")
    if event_type == "filled":
        wanted = fill("a", ONE // 4, "another")
    elif event_type == "amended":
        wanted = replace(wanted, size=2 * ONE)
    if event_type in LEGAL[order.state]:
        event, new = decide(order, wanted, event_id=9, created_us=9)
        assert new
        assert event.sequence_number == order.sequence_number + 1
    else:
        with pytest.raises(Refused, match="so not"):
            decide(order, wanted, event_id=9, created_us=9)


def test_a_repeated_command_is_the_event_it_made() -> None:
    events = run(*REACHED["filled"])
    order = folded(events)[events[0].order_id]
    for event, command in zip(events, REACHED["filled"], strict=True):
        later = replace(command, event_time_us=START_US + 5)
        assert decide(order, later, event_id=9, created_us=9) == (event, False)


def test_an_id_used_for_something_else_is_refused() -> None:
    order = state_after(*REACHED["partially_filled"])
    with pytest.raises(Refused, match="for something else"):
        decide(order, fill("a", ONE // 2), event_id=9, created_us=9)
    with pytest.raises(Refused, match="for something else"):
        decide(order, place("a", 2 * ONE), event_id=9, created_us=9)


def test_a_change_meant_for_an_earlier_state_is_refused() -> None:
    order = state_after(*REACHED["partially_filled"])
    stale = replace(change("a", "cancelled"), expected_sequence=2)
    with pytest.raises(Refused, match="is at event 3, not 2"):
        decide(order, stale, event_id=9, created_us=9)


def test_amendments_keep_what_they_do_not_name() -> None:
    bigger = replace(change("a", "amended"), size=3 * ONE)
    order = state_after(*ACCEPTED, bigger, fill("a", 2 * ONE))
    assert (order.size, order.price, order.filled, order.state) == (
        *(3 * ONE, 100 * ONE, 2 * ONE, "partially_filled"),
    )
    again = replace(change("a", "amended", "less"), size=2 * ONE)
    with pytest.raises(Refused, match="no more than is filled"):
        decide(order, again, event_id=9, created_us=9)


@given(st.lists(st.integers(1, ONE), min_size=1, max_size=8), st.data())
def test_never_filled_beyond_its_size(sizes: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(max(sizes), sum(sizes)))
    order = state_after(place("a", total), change("a", "accepted"))
    filled = 0
    for number, size in enumerate(sizes):
        wanted = fill("a", size, f"f{number}")
        if filled + size > total or order.state == "filled":
            with pytest.raises(Refused):
                decide(order, wanted, event_id=9, created_us=9)
            continue
        event, _ = decide(order, wanted, event_id=9, created_us=9)
        order.apply(event)
        filled += size
        assert order.filled == filled
        assert order.state == ("filled" if filled == total else "partially_filled")


FIELDS = st.lists(
    st.one_of(st.integers(), st.text(st.characters(codec="utf-8", exclude_characters="\x1f"))),
    min_size=1,
    max_size=6,
)


@given(FIELDS, FIELDS)
def test_two_events_never_have_one_text(one: list[str | int], other: list[str | int]) -> None:
    same = [str(each) for each in one] == [str(each) for each in other]
    assert (canonical(one) == canonical(other)) == same


@given(st.integers(-(10**28) + 1, 10**28 - 1))
def test_an_amount_has_ten_places_and_loses_none(amount: int) -> None:
    text = amount_text(amount)
    assert len(text.split(".")[1]) == 10
    assert int(text.replace(".", "")) == amount


def test_the_chain_is_what_openssl_says() -> None:
    # printf '%064d\037a\0371' 0 | openssl dgst -sha256
    assert link(GENESIS, canonical(("a", 1))) == (
        "032ca5b8cb9968b328dddc82e1e5388223118a841dc9e9c4ee776cfe1ba29cbe"
    )


def test_control_characters_are_refused() -> None:
    with pytest.raises(BadInput, match="control characters"):
        change("a\x1fb", "accepted")
    with pytest.raises(BadInput, match="U\\+001F"):
        canonical(("a\x1f", "b"))

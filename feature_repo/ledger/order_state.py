"""What an order is, folded from its events; and which event a command makes of it, or why none.

Pure: the same events give the same order, in the writer, in a replay and in a test.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from feature_repo.ledger.chain import amount_text, data_text
from feature_repo.ledger.commands import PREDICTION, Change, ImportOrder, OrderCommand, Place
from feature_repo.ledger.order_event import EventType, OrderEvent
from feature_repo.trading.money import units
from feature_repo.trading.order import State
from lake.errors import Refused

LEGAL: Mapping[State, frozenset[str]] = {
    "created": frozenset({"accepted", "rejected", "cancelled"}),
    "accepted": frozenset({"amended", "filled", "cancelled", "expired"}),
    "partially_filled": frozenset({"amended", "filled", "cancelled", "expired"}),
    "filled": frozenset(),
    "cancelled": frozenset(),
    "rejected": frozenset(),
    "expired": frozenset(),
}
"""State -> changes that it allows."""

FILLS = ("partially_filled", "filled")


@dataclass(slots=True)
class OrderState:
    """An order now. first: its opening event; commands: its events by their command's id."""

    first: OrderEvent
    state: State
    price: int | None
    size: int
    filled: int
    sequence_number: int
    commands: dict[str, OrderEvent] = field(default_factory=dict)

    def apply(self, event: OrderEvent) -> None:
        """Take the next event; it must be legal, see `decide`."""
        self.sequence_number = event.sequence_number
        self.commands[event.command_id] = event
        kind = event.event_type
        if kind == "amended":
            self.price = event.price
            self.size = _given(event.size)
            return
        if kind in FILLS:
            self.filled += _given(event.size)
        if kind != "imported":
            self.state = kind


def opened(event: OrderEvent) -> OrderState:
    """Return the order that a created or imported event opens."""
    said = json.loads(event.data)
    state: State = said["state"] if event.event_type == "imported" else "created"
    filled = units(said["filled"]) if event.event_type == "imported" else 0
    return OrderState(
        event, state, event.price, _given(event.size), filled, 1, {event.command_id: event}
    )


def folded(events: Iterable[OrderEvent]) -> dict[str, OrderState]:
    """Return the orders of events that are whole and in order, by their ids."""
    orders: dict[str, OrderState] = {}
    for event in events:
        if event.sequence_number == 1:
            orders[event.order_id] = opened(event)
        else:
            orders[event.order_id].apply(event)
    return orders


def fault_of(order: OrderState | None, event: OrderEvent) -> str:
    """Return why an event could not follow, "" where it could: what an audit asks of each."""
    if order is None or event.sequence_number == 1:
        is_first = event.sequence_number == 1 and event.event_type in ("created", "imported")
        return "" if is_first and order is None else "does not begin with its first event"
    if event.sequence_number != order.sequence_number + 1:
        return f"event {event.sequence_number} comes after {order.sequence_number}"
    kind = "filled" if event.event_type in FILLS else event.event_type
    if kind not in LEGAL[order.state]:
        return f"{kind} while {order.state}"
    if kind == "filled":
        left = order.size - order.filled - _given(event.size)
        if left < 0 or (left == 0) != (event.event_type == "filled"):
            return f"{event.event_type} with {amount_text(left)} left"
    return ""


def decide(
    order: OrderState | None, command: OrderCommand, *, event_id: int, created_us: int
) -> tuple[OrderEvent, bool]:
    """Return the event of a command, and whether it is new; one that was done returns its event.

    Raises Refused for what the order's state does not allow, for a command's id that was used for
    something else, and where the order has moved on from expected_sequence.
    """
    if isinstance(command, Change):
        if order is None:
            thing = f"order {command.client_order_id} of {command.account}"
            raise Refused(thing, "is not there", "create it first")
        made = _change(order, command)
    else:
        made = _opening(command)
    known = order.commands.get(made.command_id) if order else None
    if order is not None and (known is not None or made.sequence_number == 1):
        return _repeated(order, known, made), False
    if order is not None and isinstance(command, Change):
        _check(order, command)
    return replace(made, id=event_id, created_us=created_us), True


def _opening(command: Place | ImportOrder) -> OrderEvent:
    order = command.order
    said: dict[str, object] = {"ioc": order.ioc, "post_only": order.post_only}
    event_type: EventType = "created"
    if isinstance(command, ImportOrder):
        event_type = "imported"
        said |= {
            "state": command.state,
            "filled": amount_text(command.filled),
            "filled_value": amount_text(command.filled_value),
            "fees": amount_text(command.fees),
            "source": command.source,
        }
    else:
        said["origin"] = dict(command.origin)
    return OrderEvent(
        id=0,
        order_id=command.order_id,
        sequence_number=1,
        event_type=event_type,
        event_time_us=command.event_time_us,
        account=command.account,
        client_order_id=order.client_id,
        command_id=order.client_id,
        instrument=order.instrument,
        side=order.side,
        kind=order.kind,
        price=order.price,
        size=order.size,
        fee=None,
        liquidity="",
        data=data_text(said),
        created_us=0,
    )


def _change(order: OrderState, command: Change) -> OrderEvent:
    first = order.first
    event_type: EventType = command.event_type
    price, size, fee = command.price, command.size, command.fee
    if command.event_type == "filled" and size is not None and order.filled + size < order.size:
        event_type = "partially_filled"
    said = {"reason": command.reason} if command.reason else {}
    if command.event_type == "amended":
        # What was asked for stands apart from what the order then is: a repeat is known by it.
        asked = {"price": price, "size": size}
        said |= {name: amount_text(each) for name, each in asked.items() if each is not None}
        price = order.price if price is None else price
        size = order.size if size is None else size
    return OrderEvent(
        id=0,
        order_id=first.order_id,
        sequence_number=order.sequence_number + 1,
        event_type=event_type,
        event_time_us=command.event_time_us,
        account=first.account,
        client_order_id=first.client_order_id,
        command_id=command.command_id,
        instrument=first.instrument,
        side=first.side,
        kind=first.kind,
        price=price,
        size=size,
        fee=fee,
        liquidity=command.liquidity,
        data=data_text(said),
        created_us=0,
    )


def _check(order: OrderState, command: Change) -> None:
    thing = f"order {command.client_order_id}"
    if command.expected_sequence not in (None, order.sequence_number):
        fault = f"is at event {order.sequence_number}, not {command.expected_sequence}"
        raise Refused(thing, fault, "read it again")
    if command.event_type not in LEGAL[order.state]:
        allowed = ", ".join(sorted(LEGAL[order.state])) or "nothing"
        raise Refused(thing, f"{order.state}, so not {command.event_type}", f"it allows {allowed}")
    given = (command.price, command.size, command.fee)
    if command.event_type == "filled":
        _check_fill(order, command, thing)
    elif command.event_type == "amended":
        _check_amendment(order, command, thing)
    elif given != (None, None, None) or command.liquidity:
        raise Refused(thing, f"{command.event_type} with an amount", "give a price to fills only")


def _check_fill(order: OrderState, command: Change, thing: str) -> None:
    if None in (command.price, command.size, command.fee) or not command.liquidity:
        raise Refused(thing, "fill without price, size, fee or liquidity", "give all four")
    if order.filled + _given(command.size) > order.size:
        raise Refused(thing, "would be filled beyond its size", "look for the fill given twice")


def _check_amendment(order: OrderState, command: Change, thing: str) -> None:
    if (command.price, command.size) == (None, None) or command.fee or command.liquidity:
        raise Refused(thing, "amended of nothing, or of a fee", "give a price or a size")
    if command.price is not None and order.first.kind == "market":
        raise Refused(thing, "a market order has no price", "amend its size")
    if command.size is not None and command.size <= order.filled:
        raise Refused(thing, "amended to no more than is filled", "cancel it")


def _repeated(order: OrderState, known: OrderEvent | None, made: OrderEvent) -> OrderEvent:
    """Return the event that a repeated command made; its time and place are those of then."""
    if known is not None and _content(known) == _content(made):
        return known
    thing = f"order {order.first.client_order_id} of {order.first.account}"
    fault = f"command {made.command_id} was given before, for something else"
    raise Refused(thing, fault, "give each command its own id")


def _content(event: OrderEvent) -> tuple[object, ...]:
    kind = "filled" if event.event_type in FILLS else event.event_type
    amounts = () if kind == "amended" else (event.price, event.size, event.fee)
    data = _as_before(event.data) if kind == "created" else event.data
    return (kind, event.instrument, event.side, event.kind, *amounts, event.liquidity, data)


def _as_before(data: str) -> str:
    """Return an order's data without what orders of an earlier version did not name."""
    said = json.loads(data)
    said.get("origin", {}).pop(PREDICTION, None)
    return data_text(said)


def _given(size: int | None) -> int:
    assert size is not None, "created, amended and filled have a size"
    return size

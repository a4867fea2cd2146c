"""Orders and events as rows that JSON holds: amounts are text, times UTC microseconds."""

from __future__ import annotations

import json
from typing import Any

from feature_repo.ledger.order_event import OrderEvent
from feature_repo.ledger.order_state import FILLS, OrderState
from feature_repo.trading.money import decimal_of, times, units


def text(amount: int) -> str:
    """Return an amount in units as text, without zeros behind."""
    return f"{decimal_of(amount).normalize():f}"


def order_row(state: OrderState) -> dict[str, Any]:
    """Return an order as it stands."""
    first, value, fees = state.first, 0, 0
    if first.event_type == "imported":
        said = json.loads(first.data)
        value, fees = units(said["filled_value"]), units(said["fees"])
    events = list(state.commands.values())
    for each in events:
        if each.event_type in FILLS:
            assert each.price is not None
            assert each.size is not None
            value += times(each.price, each.size)
            fees += each.fee or 0
    return {
        **_names(first),
        "kind": first.kind,
        "price": None if state.price is None else text(state.price),
        "size": text(state.size),
        "filled_size": text(state.filled),
        "filled_value": text(value),
        "fees": text(fees),
        "current_state": state.state,
        "sequence_number": state.sequence_number,
        "created_us": first.event_time_us,
        "updated_us": events[-1].event_time_us,
    }


def event_row(event: OrderEvent) -> dict[str, Any]:
    """Return an event, with what it has."""
    said = json.loads(event.data)
    amounts = {"price": event.price, "size": event.size, "fee": event.fee}
    row = {
        "id": event.id,
        "sequence_number": event.sequence_number,
        "event_type": event.event_type,
        "t": event.event_time_us,
        **_names(event),
        **{name: text(each) for name, each in amounts.items() if each is not None},
    }
    if event.liquidity:
        row["liquidity"] = event.liquidity
    if "reason" in said:
        row["reason"] = said["reason"]
    if said.get("origin"):
        row["origin"] = said["origin"]
    return row


def _names(event: OrderEvent) -> dict[str, Any]:
    return {
        "order_id": event.order_id,
        "account": event.account,
        "client_order_id": event.client_order_id,
        **event.instrument._asdict(),
        "side": event.side,
    }

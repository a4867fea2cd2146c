"""A refusal by risk as the ledger keeps it: words with each rule, what was measured, the limit."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from feature_repo.ledger.order_event import OrderEvent
from feature_repo.trading.money import UNITS_MAX
from serving.risk.limits import Breach

COMMAND = "risk"
"""The command id of a rejection by our own limits."""

BETWEEN = " | "
_PART = re.compile(r"(\w+): (.*) \(measured (-?\d+), limit (-?\d+)\)")


def words_of(breaches: Sequence[Breach]) -> str:
    """Return breaches in words that `breaches_of` reads."""
    return BETWEEN.join(
        f"{each.rule}: {each.reason} (measured {each.measured}, limit {each.limit})"
        for each in breaches
    )


def is_refusal(event: OrderEvent) -> bool:
    """Tell whether our own limits made an event."""
    return event.event_type == "rejected" and event.command_id == COMMAND


def breaches_of(event: OrderEvent) -> list[dict[str, Any]]:
    """Return a row for each limit that a refused order would have passed."""
    row = {
        "t": event.event_time_us,
        "account": event.account,
        "client_order_id": event.client_order_id,
        **event.instrument._asdict(),
    }
    found = []
    for part in str(json.loads(event.data).get("reason", "")).split(BETWEEN):
        match = _PART.fullmatch(part)
        rule, reason, measured, limit = match.groups() if match else (COMMAND, part, "-1", "-1")
        said = {
            "rule": rule,
            "reason": reason,
            "measured": held(int(measured)),
            "limit": int(limit),
        }
        found.append({**row, **said})
    return found


def held(measured: int) -> int:
    """Return what was measured as JSON of 64 bits holds it: what is beyond is the most there is."""
    return min(measured, UNITS_MAX)

"""What ties events together: canonical text, and hashes that each name the one before.

The canonical text of an event is its fields in the table's order, each as text, joined by U+001F:
an integer in decimal, an amount with ten places, a time as microseconds since the epoch, a null as
nothing. No field holds U+001F, so no two events have one text. An event's hash is the SHA-256, in
hex, of the hash before it, U+001F, and its text; before the first stands GENESIS.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from feature_repo.trading.money import UNIT
from lake.errors import BadInput

SEPARATOR = "\x1f"

GENESIS = "0" * 64
"""What stands before the first event of a chain."""

Field = str | int | None


def amount_text(amount: int | None) -> str:
    """Return an amount of units of 1e-10 with ten places; "" for none."""
    if amount is None:
        return ""
    whole, rest = divmod(abs(amount), UNIT)
    return f"{'-' if amount < 0 else ''}{whole}.{rest:010d}"


def canonical(fields: Iterable[Field]) -> str:
    """Return the text of an event; amounts come as `amount_text` writes them.

    BadInput for a field that holds the separator.
    """
    texts = ["" if field is None else str(field) for field in fields]
    joined = SEPARATOR.join(texts)
    if joined.count(SEPARATOR) != len(texts) - 1:
        raise BadInput("event", "a field holds U+001F", "leave control characters out")
    return joined


def link(before: str, text: str) -> str:
    """Return the hash of an event after one with the hash `before`."""
    return hashlib.sha256(f"{before}{SEPARATOR}{text}".encode()).hexdigest()


def data_text(said: Mapping[str, object]) -> str:
    """Return an event's data as JSON, always the same for the same words."""
    return json.dumps(said, sort_keys=True, separators=(",", ":"))

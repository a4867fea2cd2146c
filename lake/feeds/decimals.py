"""Exact decimals from what venues send.

A JSON number is an IEEE double, as every JSON reader has it (RFC 8259, 6), and stands for its
shortest decimal; a string is the decimal that it spells. What decimal(28, 10) can't hold exactly is
refused, never rounded.
"""

from __future__ import annotations

import math
import re
from decimal import Context, Decimal

from lake.errors import BadFrame

DECIMALS_MAX = 10
BELOW = Decimal(10) ** 18
SPELLING = re.compile(r"-?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,3})?", re.ASCII)
QUANTUM = Decimal(1).scaleb(-DECIMALS_MAX)
CHARS_MAX = 64
UNROUNDED = Context(prec=CHARS_MAX)
"""Room for 18 digits before the point and 10 after it; the default context has 28 in all."""


def exact(value: object, place: str) -> Decimal:
    """Return a number or a string as a decimal with ten decimals.

    Raises BadFrame: missing_field, not_a_number, precision; its thing is the place.
    """
    if value is None:
        raise BadFrame(place, "is missing", "missing_field")
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise BadFrame(place, f"is {type(value).__name__}, not a number", "not_a_number")
    if isinstance(value, float) and not math.isfinite(value):
        raise BadFrame(place, "is not finite", "not_a_number")
    text = value if isinstance(value, str) else repr(value)
    if len(text) > CHARS_MAX or not SPELLING.fullmatch(text):
        raise BadFrame(place, f"{text[:CHARS_MAX]!r} is not a number", "not_a_number")
    number = Decimal(text)
    if number.copy_abs() < BELOW:
        found = number.quantize(QUANTUM, context=UNROUNDED)
        if found == number:
            return found
    raise BadFrame(place, f"{text} does not fit decimal(28, 10)", "precision")


def positive(value: object, place: str, name: str) -> Decimal:
    """Return a decimal above zero; raises BadFrame with reason <name>_not_positive."""
    number = exact(value, place)
    if number <= 0:
        raise BadFrame(place, f"is {number.normalize():f}", f"{name}_not_positive")
    return number


def not_negative(value: object, place: str, name: str) -> Decimal:
    """Return a decimal at or above zero; raises BadFrame with reason <name>_negative."""
    number = exact(value, place)
    if number < 0:
        raise BadFrame(place, f"is {number.normalize():f}", f"{name}_negative")
    return number

"""Values of parameters: texts in, checked values of a known kind out; never a piece of SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from lake.clock import utc_from_us
from lake.errors import WrongUse

Value = str | int | datetime | None
"""text: str; integer: int; duration: int, milliseconds; time: aware datetime; `null`: None."""

KINDS = ("text", "time", "duration", "integer")
NULL = "null"
TEXT_CHARACTERS_MAX = 200

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d{1,12})(ms|s|m|h|d)")
_NOW = re.compile(r"now(?:-(\d{1,12}(?:ms|s|m|h|d)))?")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Lowest and highest allowed value, as written, each inclusive or not."""

    lowest: str
    highest: str
    lowest_inclusive: bool = True
    highest_inclusive: bool = True

    def __str__(self) -> str:
        opens, ends = "[" if self.lowest_inclusive else "(", "]" if self.highest_inclusive else ")"
        return f"{opens}{self.lowest}, {self.highest}{ends}"


def parse_value(
    name: str, kind: str, word: str, bounds: Bounds | None = None, *, now_us: int
) -> Value:
    """Return a text as a value of a kind, inside its bounds; WrongUse says what is off.

    time: ISO 8601 with an offset, or a date (midnight UTC), `now`, or `now-6h`; duration: 500ms,
    1s, 5m, 1h, 1d; text: up to 200 printable characters; null for no value.
    """
    if word == NULL:
        return None
    value = _parsed(name, kind, word, now_us)
    if bounds is not None:
        low, high = (_parsed(name, kind, b, now_us) for b in (bounds.lowest, bounds.highest))
        assert isinstance(value, int)
        assert isinstance(low, int)
        assert isinstance(high, int)
        above = value >= low if bounds.lowest_inclusive else value > low
        below = value <= high if bounds.highest_inclusive else value < high
        if not (above and below):
            raise WrongUse(f"parameter {name}", f"{word} is outside {bounds}", "stay inside")
    return value


def duration_ms(word: str) -> int | None:
    """Return a duration's milliseconds; None where it is none."""
    found = _DURATION.fullmatch(word)
    return int(found[1]) * _UNITS_MS[found[2]] if found else None


def _parsed(name: str, kind: str, word: str, now_us: int) -> str | int | datetime:
    if kind == "time":
        return _time(name, word, now_us)
    if kind == "duration":
        milliseconds = duration_ms(word)
        if milliseconds is None:
            raise WrongUse(f"parameter {name}", f"{word} is no duration", "as 500ms, 5m or 1d")
        return milliseconds
    if kind == "integer":
        if not re.fullmatch(r"-?\d{1,18}", word):
            raise WrongUse(f"parameter {name}", f"{word} is no whole number", "as 10")
        return int(word)
    if len(word) > TEXT_CHARACTERS_MAX or not word.isprintable():
        raise WrongUse(
            f"parameter {name}",
            "is too long or has characters that do not print",
            f"at most {TEXT_CHARACTERS_MAX}",
        )
    return word


def _time(name: str, word: str, now_us: int) -> datetime:
    if relative := _NOW.fullmatch(word):
        back_ms = duration_ms(relative[1]) if relative[1] else 0
        try:
            return utc_from_us(now_us - (back_ms or 0) * 1_000)
        except (OSError, OverflowError, ValueError):
            raise WrongUse(
                f"parameter {name}", f"{word} is before all time", "go less far"
            ) from None
    try:
        found = datetime.fromisoformat(word)
    except ValueError:
        found = None
    if found is None or (found.tzinfo is None and len(word) > len("2026-01-01")):
        raise WrongUse(
            f"parameter {name}",
            f"{word} is no time with an offset",
            "as 2026-01-31, 2026-01-31T12:00:00Z, now or now-6h",
        )
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)

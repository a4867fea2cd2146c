"""What of the span that was asked for the rows really cover, so that no part passes for a whole.

A ticker may begin later than was asked, or not trade: that is no fault, but it is said where the
result is, and kept in its receipt. A release that begins later or ends sooner than was asked,
whatever the ticker, does not hold the span, and is refused unless a part is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from lake.clock import utc_from_us
from lake.errors import Unavailable

Span = tuple[int, int]
"""First and last time, microseconds since the epoch."""

WORDS = "%Y-%m-%d %H:%M"

SILENT_US = 86_400_000_000
"""A market may rest, and a venue be silent, for so long at either end of a span that is held."""


def span_of(rows: pa.Table, width_us: int = 0) -> Span | None:
    """Return the times from the first row to the last, plus its width; None without rows."""
    if not rows.num_rows:
        return None
    found = pc.min_max(rows["event_time"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()))
    return int(found["min"].as_py()), int(found["max"].as_py()) + width_us


def span_of_ends(ends: pa.Table, width_us: int = 0) -> Span | None:
    """Return the span of one row of first_time and last_time; None where these are null."""
    first, last = (
        ends[name].cast(pa.timestamp("us", "UTC")).cast(pa.int64())[0].as_py()
        for name in ("first_time", "last_time")
    )
    return None if first is None else (first, last + width_us)


def texts(spans: Mapping[str, Span]) -> dict[str, str]:
    """Return spans as ISO 8601 has them, FIRST/LAST, for a receipt."""
    return {
        name: "/".join(utc_from_us(each).isoformat() for each in span)
        for name, span in spans.items()
    }


def span_of_text(text: str) -> Span:
    """Return the span that texts() wrote."""
    ends = map(datetime.fromisoformat, text.split("/"))
    first, last = (int(each.timestamp() * 1_000_000) for each in ends)
    return first, last


def partly(spans: Mapping[str, Span], asked: Span, slack_us: int) -> dict[str, Span]:
    """Return those that begin later or end sooner than was asked, by more than the slack."""
    first_us, last_us = asked
    return {
        name: span
        for name, span in spans.items()
        if span[0] > first_us + slack_us or span[1] < last_us - slack_us
    }


def require_held(release: str, what: str, held: Span | None, asked: Span) -> None:
    """Raise Unavailable where a release does not reach from end to end of what was asked for.

    held: the first and last time of any row of what is read; None: it has none.
    """
    if held is not None and not partly({what: held}, asked, SILENT_US):
        return
    has = f"has {what} of {words(held)} only" if held else f"has no {what}"
    raise Unavailable(
        f"release {release}",
        f"{has}, of {words(asked)} asked for",
        "ask for what it has, take in the rest and make another, or add --partly",
    )


def words(span: Span) -> str:
    """Return a span for people."""
    return f"{' to '.join(f'{utc_from_us(each):{WORDS}}' for each in span)} UTC"

"""What of the span that was asked for the rows really cover, so that no part passes for a whole.

A release that holds only some of it is no fault: a ticker may begin later, or not trade. But it is
said where the result is, and kept in its receipt.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from lake.clock import utc_from_us

Span = tuple[int, int]
"""First and last time, microseconds since the epoch."""

WORDS = "%Y-%m-%d %H:%M"


def span_of(rows: pa.Table, width_us: int = 0) -> Span | None:
    """Return the times from the first row to the last, plus its width; None without rows."""
    if not rows.num_rows:
        return None
    found = pc.min_max(rows["event_time"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()))
    return int(found["min"].as_py()), int(found["max"].as_py()) + width_us


def texts(spans: Mapping[str, Span]) -> dict[str, str]:
    """Return spans as ISO 8601 has them, FIRST/LAST, for a receipt."""
    return {
        name: "/".join(utc_from_us(each).isoformat() for each in span)
        for name, span in spans.items()
    }


def partly(spans: Mapping[str, Span], asked: Span, slack_us: int) -> dict[str, Span]:
    """Return those that begin later or end sooner than was asked, by more than the slack."""
    first_us, last_us = asked
    return {
        name: span
        for name, span in spans.items()
        if span[0] > first_us + slack_us or span[1] < last_us - slack_us
    }


def words(span: Span) -> str:
    """Return a span for people."""
    return f"{' to '.join(f'{utc_from_us(each):{WORDS}}' for each in span)} UTC"

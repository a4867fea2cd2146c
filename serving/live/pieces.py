"""What waits for its bars: trades, and pieces of bars made of them, cut by time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.feeds.plain import Plain, joined

TRADES_SCHEMA = arrow_schema(load("crypto_trades"))


def one_table(parts: Sequence[pa.Table | Plain]) -> pa.Table:
    """Return trades as one table; neighbours that are not Arrow's yet become it at once."""
    tables: list[pa.Table] = []
    for _, run in groupby(parts, lambda each: isinstance(each, Plain)):
        alike = list(run)
        plain = [each for each in alike if isinstance(each, Plain)]
        tables += [joined(plain).table()] if plain else alike
    return pa.concat_tables(each.cast(TRADES_SCHEMA) for each in tables).combine_chunks()


def first_us_of(rows: pa.Table | Plain) -> int:
    if isinstance(rows, Plain):
        return int(rows.numbers("event_time").min())
    return int(pc.min(times_us(rows)).as_py())


def times_us(rows: pa.Table) -> pa.ChunkedArray:
    return rows["event_time"].cast(pa.int64())


def since(parts: Sequence[pa.Table], time_us: int) -> pa.Table | None:
    """Return the rows from a time on, None where there are none."""
    if not parts:
        return None
    rows = pa.concat_tables(parts)
    found = rows.filter(pc.greater_equal(times_us(rows), time_us))
    return found.combine_chunks() if found.num_rows else None


def between(
    parts: Sequence[pa.Table], nothing: pa.Table, first_us: int, last_us: int
) -> tuple[pa.Table, pa.Table]:
    """Return the rows of [first, last), and those before."""
    rows = pa.concat_tables([nothing, *parts])
    due = rows.filter(pc.less(times_us(rows), last_us))
    in_time = pc.greater_equal(times_us(due), first_us)
    return due.filter(in_time).combine_chunks(), due.filter(pc.invert(in_time))

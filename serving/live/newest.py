"""The newest row of each instrument among those of a round, as whoever shows it is told."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.feeds.scaled import PRECISION, SCALE

UNIT = 10**SCALE
EXACT = pa.decimal128(PRECISION, SCALE)
INSTRUMENT = ("exchange", "market", "ticker")
PRICES = {"price": "price", "size": "size"}
QUOTES = {each: each for each in ("bid_price", "bid_size", "ask_price", "ask_size")}


def newest(
    rows: pa.Table | None, names: tuple[str, ...], amounts: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the newest row by names, by event time, then by the journal.

    Each has the names, t (event time, UTC microseconds), s (its seq) and amounts as text: under
    their keys the columns that are their values.
    """
    if rows is None or not rows.num_rows:
        return []
    joined = pc.binary_join_element_wise(*(rows[name] for name in names), "|")
    codes = joined.combine_chunks().dictionary_encode().indices.to_numpy()
    times = rows["event_time"].cast(pa.int64()).to_numpy()
    order = np.lexsort((rows["seq"].to_numpy(), times, codes))
    last = order[np.append(np.diff(codes[order]) != 0, True)]
    needed = dict.fromkeys((*names, "seq", *amounts.values()))
    found = rows.select(list(needed)).take(pa.array(last))
    columns = {
        **{name: found[name].to_pylist() for name in names},
        "t": times[last].tolist(),
        "s": found["seq"].to_pylist(),
        **{ours: texts(found[theirs]) for ours, theirs in amounts.items()},
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def texts(column: pa.ChunkedArray) -> list[Any]:
    """Return amounts as JSON may carry them, as text() does."""
    if column.type == EXACT and not column.null_count:
        array = pa.concat_arrays(column.chunks)
        halves = np.frombuffer(array.buffers()[1], np.int64)
        ours = halves[2 * array.offset : 2 * (array.offset + len(array))]
        low, high = ours[::2], ours[1::2]
        if not high.any() and (low >= 0).all():
            return [f"{each // UNIT}.{each % UNIT:0{SCALE}d}" for each in low.tolist()]
    return [text(each) for each in column.to_pylist()]


def text(value: Any) -> Any:
    """Return an amount as JSON may carry it: decimals as text, digit by digit; the rest as is."""
    return f"{value:f}" if isinstance(value, Decimal) else value

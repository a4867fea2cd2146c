"""What the columnar decoders share: from checked columns to a contract's table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from lake.feeds.codec import EVENT_TIME_US_MIN, FUTURE_US_MAX, Decoded
from lake.feeds.events import TIME_US_MAX, schema

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


def table(
    dataset: str, rows: pl.DataFrame, shard: int, own: Mapping[str, pa.Array | Int64]
) -> pa.Table:
    """Return the dataset's columns in the contract's order; rows has seq and received_us."""
    shared = {
        "received_time": rows["received_us"].to_numpy(),
        "shard": np.full(len(rows), shard, np.int16),
        "seq": rows["seq"].to_numpy(),
    }
    return arranged(dataset, {**shared, **own})


def arranged(dataset: str, columns: Mapping[str, pa.Array | Int64]) -> pa.Table:
    """Return columns in the contract's order and types."""
    wanted = schema(dataset)
    return pa.table([_typed(columns[field.name], field.type) for field in wanted], schema=wanted)


def _typed(column: pa.Array | Int64, kind: pa.DataType) -> pa.Array:
    if isinstance(column, np.ndarray):
        return pa.array(column).cast(kind) if kind == pa.int16() else pa.array(column).view(kind)
    return column


def constant(text: str, length: int) -> pa.Array:
    """Return a column of one text."""
    return pa.repeat(pa.scalar(text, pa.string()), length)


def spelled(
    names: pl.Series, right: Callable[[str], bool], ticker: Callable[[str], str]
) -> tuple[pa.Array, Bool]:
    """Return the tickers of venue symbols, and which symbols are right; null is not."""
    found = names.to_arrow().cast(pa.string()).dictionary_encode()
    known = found.dictionary.to_pylist()
    sure = np.asarray([right(name) for name in known] + [False])
    code = found.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
    tickers = pa.array([ticker(name) for name in known], pa.string())
    return tickers.take(found.indices), sure[code]


def possible_times(time_us: Int64, received_us: Int64) -> Bool:
    """Tell which event times are within an event's bounds."""
    late = (received_us == 0) | (time_us <= received_us + FUTURE_US_MAX)
    found: Bool = (time_us >= EVENT_TIME_US_MIN) & (time_us <= TIME_US_MAX) & late
    return found


def joined(parts: list[Decoded]) -> Decoded:
    """Return the parts as one outcome, rows in the order of seq."""
    if len(parts) == 1:
        return parts[0]
    names = sorted({name for part in parts for name in part.tables})
    tables = {
        name: pa.concat_tables([p.tables[name] for p in parts if name in p.tables]).sort_by("seq")
        for name in names
    }
    quarantine = pa.concat_tables([part.quarantine for part in parts]).sort_by("seq")
    ignored: Counter[str] = Counter()
    for part in parts:
        ignored.update(part.ignored)
    told = tuple(each for part in parts for each in part.told)
    return Decoded(tables, quarantine, dict(ignored), sum(part.events for part in parts), told)

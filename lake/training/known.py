"""Which values of a series were the latest when they were first seen; the others never stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]

EVENT = "_event_us"
AVAILABLE = "_available_us"
SEEN = "_seen_us"
RECORDED = "_recorded_us"
"""When a version was written, where its table says so."""


def latest_when_seen(held: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Return the rows of a table that stand at some time, with SEEN, the time from which they do.

    held: keys, EVENT and AVAILABLE in microseconds, RECORDED where there is one, no nulls; its
    order does not matter, but one by series and time is quicker. Of rows that agree in key and both
    times the one recorded last is returned.
    In the order of seen, event, available and recorded time a row was the latest if no earlier one
    has a later event time; of those first seen at one moment the last is the value.
    """
    times = [
        _ints(held[each]) for each in (RECORDED, AVAILABLE, EVENT) if each in held.column_names
    ]
    series = _series(held, keys)
    by_series = np.argsort(series, kind="stable")
    edges = np.flatnonzero(np.diff(series[by_series])) + 1
    kept = [_of_series(times, rows) for rows in np.split(by_series, edges)]
    found = held.take(pa.array(np.concatenate(kept)))
    seen = pc.max_element_wise(found[EVENT], found[AVAILABLE])
    return found.append_column(SEEN, seen)


def _of_series(times: Sequence[Ints], rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    own = [each[rows] for each in times]
    availables, events = own[-2:]
    seen = np.maximum(events, availables)
    order = np.lexsort((*own, seen))
    events, seen = events[order], seen[order]
    stands = events >= np.maximum.accumulate(events)
    stands[:-1] &= seen[1:] != seen[:-1]
    return rows[order[stands]]


def _series(held: pa.Table, keys: Sequence[str]) -> Ints:
    """Number the rows by their keys; equal keys have equal numbers."""
    numbers = np.zeros(held.num_rows, dtype=np.int64)
    for key in keys:
        encoded = held[key].combine_chunks().dictionary_encode()
        numbers = numbers * max(1, len(encoded.dictionary)) + _ints(encoded.indices)
    return numbers


def _ints(column: Any) -> Ints:
    ints: Ints = column.to_numpy().astype(np.int64, copy=False)
    return ints

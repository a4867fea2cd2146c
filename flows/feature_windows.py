"""Windows of rows of features for what is scored, made as those of a training were.

A window is the row that is spoken of and, before it, the newest rows of its series that would be
rows of a training: bars as they stood when their features first were there, in time, whole. Those
that were not there when the row's own features were are not in it. So what was corrected is seen in
the row itself alone, the rows before it are as they first stood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from feature_repo.models.predictions import vectors_of
from flows.release_to_training_rows import KEYS, Ask, lag_max
from lake.bars.kernel import WIDTHS_US
from lake.features.features_table import DATASET
from lake.views.client import Client
from lake.views.engine import quote

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Series = Mapping[tuple[Any, ...], pl.DataFrame]

REACHES = (4, 64, 1_024)
"""How far back rows are looked for, in windows of bars that follow each other: farther only for
tickers that have too few. What reaches back farther than the last has no window."""


@dataclass(frozen=True, slots=True)
class Windows:
    """rows: those that have a window. _ends: where among _pool the rows before each one end."""

    rows: pa.Table
    _own: Float64
    _pool: Float64
    _ends: Int64
    _window: int

    @property
    def count(self) -> int:
        """Return how many rows have one."""
        return int(self.rows.num_rows)

    def vectors(self, first: int, last: int) -> Float64:
        """Return the windows of rows [first, last): rows by window by features, oldest first."""
        lines = self._ends[first:last, None] + np.arange(1 - self._window, 0)
        own = self._own[first:last, None]
        return np.concatenate([self._pool[lines], own], axis=1)


def windows_of(
    client: Client, ask: Ask, where: str, names: Sequence[str], window: int, rows: pa.Table
) -> Windows:
    """Return the windows of rows, in their order, without those that have none.

    rows: KEYS, event_time, features_time and a finite double a feature; where: the condition of
    the rows that the model was asked for; window: rows of one, at least 2.
    """
    if not rows.num_rows:
        return Windows(rows, np.empty((0, len(names))), np.empty((0, len(names))), _none(), window)
    numbered = pl.DataFrame(rows.select([*KEYS, "event_time", "features_time"]))
    asked = numbered.with_row_index("place").partition_by(KEYS, as_dict=True)
    held: dict[tuple[Any, ...], pl.DataFrame] = {}
    tickers = sorted({key[0] for key in asked})
    for reach in REACHES:
        held |= _held(client, ask, where, names, tickers, rows, reach * window)
        tickers = sorted({key[0] for key, mine in asked.items() if _short(mine, held, key, window)})
        if not tickers:
            break
    ends, counts, pool = _placed(asked, held, names, rows.num_rows)
    whole = np.flatnonzero(counts >= window - 1)
    kept = rows.take(pa.array(whole))
    return Windows(kept, vectors_of(names, kept), pool, ends[whole], window)


def _held(
    client: Client,
    ask: Ask,
    where: str,
    names: Sequence[str],
    tickers: Sequence[str],
    rows: pa.Table,
    bars: int,
) -> Series:
    """Return the rows of these tickers that a window can have, by series, oldest first.

    A bar that came after a newer one is none, as in flows.release_to_training_rows.
    """
    times = rows["event_time"].to_numpy()
    width_us = WIDTHS_US[ask.interval]
    since = f"make_timestamptz({_us(times.min()) - bars * width_us}::BIGINT)"
    # bars beyond the newest row tell whether it came after them
    until = f"make_timestamptz({_us(times.max()) + _lag_us(ask)}::BIGINT)"
    keys, columns = ", ".join(KEYS), ", ".join(f'"{name}"' for name in names)
    seen = "epoch_us(greatest(event_time, available_time))"
    newer = f"PARTITION BY {keys} ORDER BY event DESC ROWS BETWEEN UNBOUNDED PRECEDING"
    found = client.arrow(
        f"SELECT * FROM (SELECT {keys}, epoch_us(event_time) AS event, {seen} AS seen, {columns}"
        f" FROM {DATASET} WHERE {where} AND ticker IN ({', '.join(map(quote, tickers))})"
        f" AND event_time >= {since} AND event_time <= {until}"
        f" QUALIFY row_number() OVER (PARTITION BY {keys}, event_time"
        " ORDER BY available_time, recorded_time DESC) = 1)"
        f" WHERE seen - event <= {_lag_us(ask)}"
        f" QUALIFY coalesce(seen < min(seen) OVER ({newer} AND 1 PRECEDING), true)"
        f" ORDER BY {keys}, event"
    )
    frame = pl.DataFrame(found)
    finite = pl.all_horizontal(pl.col(name).is_finite().fill_null(False) for name in names)
    return frame.filter(finite).partition_by(KEYS, as_dict=True, maintain_order=True)


def _short(mine: pl.DataFrame, held: Series, key: tuple[Any, ...], window: int) -> bool:
    return bool((_before(mine, held.get(key)) < window - 1).any())


def _before(mine: pl.DataFrame, series: pl.DataFrame | None) -> Int64:
    """Return how many rows of a series come before each row and were there by then."""
    if series is None:
        return np.zeros(mine.height, np.int64)
    times = ("event_time", "features_time")
    event, known = (mine[name].dt.epoch("us").to_numpy() for name in times)
    older = np.searchsorted(series["event"].to_numpy(), event, side="left")
    there = np.searchsorted(series["seen"].to_numpy(), known, side="right")
    return np.minimum(older, there).astype(np.int64)


def _placed(
    asked: Series, held: Series, names: Sequence[str], count: int
) -> tuple[Int64, Int64, Float64]:
    """Return where each row's older ones end in the pool, how many they are, and the pool."""
    ends, counts = np.zeros(count, np.int64), np.zeros(count, np.int64)
    parts, start = [np.empty((0, len(names)))], 0
    for key, mine in asked.items():
        places, before = mine["place"].to_numpy(), _before(mine, held.get(key))
        ends[places], counts[places] = start + before, before
        if key in held:
            parts.append(held[key].select(names).to_numpy())
            start += held[key].height
    return ends, counts, np.concatenate(parts)


def _none() -> Int64:
    return np.empty(0, np.int64)


def _us(moment: np.datetime64) -> int:
    return int(moment.astype("datetime64[us]").astype(np.int64))


def _lag_us(ask: Ask) -> int:
    return lag_max(ask.interval) // timedelta(microseconds=1)

"""Take an event without a key once, from whichever of a feed's connections says it first.

Connections to one feed say the same. An event is therefore known by its content and by how often
its connection has said just that: the n-th time is one event, whoever says it first. Where a
connection ends, falls silent or lags, what another brings meanwhile is new and is taken; what it
repeats is not. An event without the exchange's time has no content of its own that would tell it
from the one before; the caller decides about those.

How often is counted from a place that the frame's own number gives: the start of the stretch of
BLOCK_FRAMES before its own. So every decision is a function of the journal, wherever batches ended
and a restart began, as far as the journal is kept: after a restart nothing is compared with frames
whose segment is deleted, a day old and more.

While a feed has one connection, its events are only kept at hand, not compared.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

BLOCK_FRAMES = 5_000
"""Connections are compared over the frames of this stretch of the journal and the one before it: a
second and more at the highest rates. One that lags by more may double what it brings."""

OURS = ("received_time", "shard", "seq")
"""Columns that are not the venue's words."""

Heard = tuple[pa.Table, npt.NDArray[np.int32]]
"""Rows, and the connection of each."""


@dataclass(slots=True)
class Said:
    """What was said in frames of one block (its number).

    load gives its rows when they are compared for the first time.
    """

    block: int
    connections: frozenset[int]
    load: Callable[[], Heard]
    _hashes: pl.DataFrame | None = None

    def hashes(self) -> pl.DataFrame:
        """Return two hashes of each row's content (128 bits together), and its connection."""
        if self._hashes is None:
            rows, connection = self.load()
            content = [name for name in rows.column_names if name not in OURS]
            frame = pl.DataFrame(pl.from_arrow(rows.select(content)))
            hashes = {"a": frame.hash_rows(seed=1), "b": frame.hash_rows(seed=2)}
            self._hashes = pl.DataFrame({**hashes, "connection": connection})
            self.load = _nothing
        return self._hashes


class Keyless:
    """What was said lately of one dataset."""

    def __init__(self) -> None:
        self._said: deque[Said] = deque()

    def remember(self, said: Said) -> None:
        """Keep what was said next; what is too long ago is forgotten."""
        self._said.append(said)
        while self._said[0].block < said.block - 1:
            self._said.popleft()

    def take(self, said: Said, count: int) -> npt.NDArray[np.bool_]:
        """Remember what is said now; tell which of its rows, so many, are new."""
        self.remember(said)
        connections = frozenset[int]().union(*(each.connections for each in self._said))
        if len(connections) == 1:
            return np.ones(count, np.bool_)
        *earlier, now = (each.hashes() for each in self._said)
        names = now.select("a", "b").unique()
        known = [each.join(names, on=["a", "b"], how="semi") for each in earlier]
        every = pl.concat([*known, now])
        times = pl.int_range(pl.len()).over("a", "b", "connection")
        new = every.select(pl.struct("a", "b", times.alias("times")).is_first_distinct())
        fresh: npt.NDArray[np.bool_] = new.to_series()[-count:].to_numpy()
        return fresh


def block_of(frame: int) -> int:
    """Return the number of the block that a frame lies in."""
    return frame // BLOCK_FRAMES


def first_remembered(frame: int) -> int:
    """Return the first frame that what is said in this frame is compared with."""
    return max(0, block_of(frame) - 1) * BLOCK_FRAMES


def _nothing() -> Heard:
    raise AssertionError("what was hashed is not loaded again")

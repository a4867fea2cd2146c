"""Hand committed batches from the hot writer to the lake committer in memory.

Only batches that the hot tier has committed are offered, so the lake never holds what hot does not.
It is a shortcut and nothing else: a batch that is not here any more is read from hot.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

BYTES_MAX = 64 << 20
"""Arrow bytes kept; past it the oldest batches go, and the committer reads them from hot."""


@dataclass(frozen=True, slots=True)
class Recent:
    """Rows of frames (after, upto] of one shard."""

    after: int
    upto: int
    tables: Mapping[str, pa.Table]
    size: int


class RecentBatches:
    """A bounded chain of one shard's newest committed batches; any thread may use it."""

    def __init__(self, shard: int, *, bytes_max: int = BYTES_MAX) -> None:
        self.shard = shard
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._chain: deque[Recent] = deque()
        self._size = 0

    def add(self, after: int, upto: int, tables: Mapping[str, pa.Table]) -> None:
        """Offer a committed batch; the chain starts afresh when it does not follow the last."""
        size = sum(table.nbytes for table in tables.values())
        with self._lock:
            if self._chain and self._chain[-1].upto != after:
                self._chain.clear()
                self._size = 0
            self._chain.append(Recent(after, upto, tables, size))
            self._size += size
            while self._size > self._bytes_max:
                self._size -= self._chain.popleft().size

    def rows(self, dataset: str, after: int, upto: int) -> list[pa.Table] | None:
        """Return a dataset's rows of frames (after, upto] in parts; None when not all are here."""
        with self._lock:
            chain = list(self._chain)
        starts, ends = {each.after for each in chain}, {each.upto for each in chain}
        if after not in starts or upto not in ends:
            return None
        within = [each for each in chain if each.after >= after and each.upto <= upto]
        return [each.tables[dataset] for each in within if dataset in each.tables]

    def forget(self, upto: int) -> None:
        """Let go of batches that every table of the lake holds."""
        with self._lock:
            while self._chain and self._chain[0].upto <= upto:
                self._size -= self._chain.popleft().size

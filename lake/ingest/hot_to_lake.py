"""Move committed rows from the hot tier into the lake, each exactly once.

One committer holds the lease; per table it asks the table how far it holds each shard, takes the
rows beyond, and appends rows and mark in one commit that the catalog refuses to a fenced epoch.
After any doubt (lost race, lost answer, restart) it asks again: the table is the only truth.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import psycopg
import pyarrow as pa

from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import TICK_DATASETS, load
from lake.durations import StageTimes
from lake.hot.batches import frame_within, last_frames
from lake.hot.hot_reader import HotReader
from lake.hot.staged_files import note_in_lake, staged_within
from lake.ingest.recent_batches import RecentBatches
from lake.tables.lake_table import LakeTable

ROWS_MAX = 1_000_000
"""Rows of one shard in one commit: about 200 MB of Arrow."""

BOOKS = ("feed_gaps", "instruments", "ledger_minutes")
"""Small tables that every batch may touch: they go to the lake with every few rounds' commits."""

LAKE_DATASETS = (
    "crypto_trades",
    "crypto_quotes",
    "crypto_aggregates",
    "market_sentiment",
    "quarantine",
    *BOOKS,
    "ingest_batches",
)


@dataclass
class Commits:
    """Commits per dataset, and races lost to another committer or to upkeep, since the start."""

    by_dataset: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LAKE_DATASETS, 0))
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class Moved:
    """Rows appended per dataset, and whether more were waiting.

    frames: shard -> the last frame in hot when this began; unless more, the lake holds it now.
    """

    rows: Mapping[str, int]
    more: bool
    frames: Mapping[int, int]


class HotToLake:
    """The committer over all shards and tables.

    recent: the batches that this process' own writer has just committed, if it has one.
    commit_lock is held while a commit is made: upkeep makes its commits under the same lock.
    commits, times: where it counts and times what it does.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        reader: HotReader,
        tables: Sequence[LakeTable],
        *,
        recent: RecentBatches | None = None,
        commit_lock: threading.Lock | None = None,
        commits: Commits | None = None,
        times: StageTimes | None = None,
    ) -> None:
        self._connection = connection
        self._reader = reader
        self._tables = tables
        self._recent = recent
        self.commit_lock = commit_lock or threading.Lock()
        self._commits = commits or Commits()
        self._stage = times.stage if times else lambda name: nullcontext()
        self._unnoted = set(TICK_DATASETS)  # of a start before: what it committed and never noted

    def step(self, *, books: bool = True) -> Moved:
        """Append what hot has beyond each table; one commit per table with new rows.

        books: whether BOOKS are among the tables this time.
        Raises Fenced, or Unavailable after which step() may be called again.
        """
        frames = last_frames(self._connection)
        rows: dict[str, int] = {}
        more = False
        for table in self._tables:
            if table.dataset in BOOKS and not books:
                continue
            moved, waiting = self._move(table, frames)
            rows[table.dataset] = moved
            more = more or waiting
        if self._recent is not None and not more:
            self._recent.forget(frames.get(self._recent.shard, 0))
        return Moved(rows, more, frames)

    def _move(self, table: LakeTable, frames: Mapping[int, int]) -> tuple[int, bool]:
        with self.commit_lock:
            table.refresh()
            held = table.holdings().through
        self._note(table.dataset, held)
        parts: list[pa.Table] = []
        staged: list[tuple[str, int]] = []
        through: dict[int, int] = {}
        waiting = False
        for shard, last in frames.items():
            after = held.get(shard, 0)
            if after >= last:
                continue
            with self._stage("lake_read"):
                upto, found = self._rows(table.dataset, shard, after, last)
            through[shard] = upto
            waiting = waiting or upto < last
            parts.extend(found)
            if table.dataset in TICK_DATASETS:
                files = staged_within(self._connection, table.dataset, shard, after, upto)
                staged.extend(files)
        rows = pa.concat_tables([arrow_schema(load(table.dataset)).empty_table(), *parts])
        if not rows.num_rows and not staged and not waiting:
            return 0, False
        with self.commit_lock:
            table.refresh()
            if table.holdings().through != held:
                self._commits.conflicts += 1
                return 0, True
            with self._stage("lake_append"):
                table.append(rows, through, [path for path, _ in staged])
            self._commits.by_dataset[table.dataset] += 1
        if staged:
            self._unnoted.add(table.dataset)
            self._note(table.dataset, through)
        return rows.num_rows + sum(count for _, count in staged), waiting

    def _note(self, dataset: str, through: Mapping[int, int]) -> None:
        """Note which staged files the table holds, where there may be some."""
        if dataset in self._unnoted:
            note_in_lake(self._connection, dataset, through)
            self._unnoted.discard(dataset)

    def _rows(self, dataset: str, shard: int, after: int, last: int) -> tuple[int, list[pa.Table]]:
        """Return (upto, rows of frames (after, upto] in parts)."""
        if self._recent is not None and self._recent.shard == shard:
            found = self._recent.rows(dataset, after, last)
            if found is not None:
                return last, found
        upto = frame_within(self._connection, shard, after, last, rows_max=ROWS_MAX)
        return upto, [self._reader.rows(dataset, shard, after, upto)]

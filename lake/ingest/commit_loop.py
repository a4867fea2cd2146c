"""The mover's second thread: hot to lake, while this process holds the committer's lease."""

from __future__ import annotations

from contextlib import closing

import psycopg

from lake.hot.batches import last_frames
from lake.hot.hot_reader import HotReader
from lake.hot.lease import Lease
from lake.hot.recovery import window_s
from lake.ingest.commits_told import CommitsTold
from lake.ingest.hot_to_lake import LAKE_DATASETS, HotToLake
from lake.ingest.mover_context import SERVER_FAULTS, Backoff, MoverContext
from lake.journal.reader import JournalReader
from lake.lineage.run import Teller
from lake.tables.catalog import open_catalog
from lake.tables.lake_table import LakeTable
from lake.tables.old_metadata import keep_metadata

FOLLOW_S = 0.2
"""How often a process that is not the committer looks whether it has become it, or is done."""

DRAIN_S = 0.05

BOOKS_EVERY = 8
"""Every so many rounds, and at the end, the books go to the lake too: a commit is a fixed cost."""


class CommitLoop:
    """Commit every lake_commit_ms until everything of our shard is in the lake."""

    def __init__(self, context: MoverContext) -> None:
        self._context = context

    def run(self) -> None:
        """Run in a thread of its own."""
        context = self._context
        backoff = Backoff(context, "committer")
        while not context.stop.is_set():
            try:
                if context.committer is not None:
                    done = self._commit(context.committer, backoff)
                else:
                    done = context.drain.is_set() and self._is_in_lake()
                    backoff.reset()
                    context.stop.wait(0 if done else FOLLOW_S)
                if done:
                    return
            except SERVER_FAULTS as error:
                context.progress.lake_faults += 1
                backoff.wait(error)

    def _commit(self, lease: Lease, backoff: Backoff) -> bool:
        """Return True once drained, False when stopped."""
        context = self._context
        place = context.place
        catalog = open_catalog(place.commit.dsn, place.commit.warehouse, epoch=lease.epoch)
        context.tables = [
            LakeTable(catalog, dataset, epoch=lease.epoch, steps=context.steps)
            for dataset in LAKE_DATASETS
        ]
        reader = HotReader(place.commit.dsn)
        namespace = context.settings.lineage_namespace or place.namespace
        told = CommitsTold(Teller(place.commit.dsn, context.clock, namespace), context.clock)
        try:
            with psycopg.connect(place.commit.dsn, autocommit=True) as connection:
                for dataset in LAKE_DATASETS:
                    keep_metadata(catalog, dataset, keep=window_s(connection) > 0)
                mover = HotToLake(
                    connection,
                    reader,
                    context.tables,
                    recent=context.recent,
                    commit_lock=context.commit_lock,
                    commits=context.progress.commits,
                    times=context.times,
                )
                return self._steps(mover, connection, backoff, told)
        finally:
            told.end()
            reader.close()
            catalog.close()

    def _steps(
        self,
        mover: HotToLake,
        connection: psycopg.Connection,
        backoff: Backoff,
        told: CommitsTold,
    ) -> bool:
        context = self._context
        before_us = context.clock.monotonic_us()
        rounds = 0
        while not context.stop.is_set():
            start_us = context.clock.monotonic_us()
            last = context.drain.is_set() and self._is_written(connection)
            moved = mover.step(books=last or rounds % BOOKS_EVERY == 0)
            rounds += 1
            backoff.reset()
            told.moved(moved, context.tables)
            if not moved.more:
                context.progress.lake_frame = moved.frames.get(context.place.shard, 0)
            # The oldest row of this commit came just after the commit before had looked.
            context.progress.lake_lag_ms = context.seconds_since(before_us) * 1e3
            before_us = start_us
            if moved.more:
                continue
            if last:
                return True
            period_s = DRAIN_S if context.drain.is_set() else context.settings.lake_commit_ms / 1e3
            context.rest(period_s, start_us)
        return False

    def _is_written(self, connection: psycopg.Connection) -> bool:
        """Tell whether hot holds every durable frame of our journal."""
        place = self._context.place
        reader = JournalReader(place.journal, place.shard)
        durable = reader.durable()
        reader.close()
        return last_frames(connection).get(place.shard, 0) >= durable

    def _is_in_lake(self) -> bool:
        """Tell whether another committer has taken everything of our shard to the lake."""
        place = self._context.place
        with psycopg.connect(place.commit.dsn, autocommit=True) as connection:
            if not self._is_written(connection):
                return False
            last = last_frames(connection).get(place.shard, 0)
        with closing(open_catalog(place.commit.dsn, place.commit.warehouse)) as catalog:
            # The last table of a round: what it holds, the others hold too.
            table = LakeTable(catalog, LAKE_DATASETS[-1], epoch=0)
            return table.holdings().through.get(place.shard, 0) >= last

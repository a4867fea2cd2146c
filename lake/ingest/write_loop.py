"""The mover's first thread: journal to hot, again and again."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg

from lake.hot.hot_tier import HotTier
from lake.ingest.journal_to_hot import JournalToHot
from lake.ingest.mover_context import SERVER_FAULTS, Backoff, MoverContext
from lake.ingest.staging import Stage
from lake.ingest.stored_keys import StoredUnion
from lake.journal.reader import JournalReader

IDLE_S = 0.005
"""Pause when nothing is durable beyond what is written."""


class WriteLoop:
    """Write micro-batches until drained or stopped; a server that is away is waited for."""

    def __init__(self, context: MoverContext) -> None:
        self._context = context
        place = context.place
        self._reader = JournalReader(place.journal, place.shard)
        self._hot = HotTier(place.dsn, steps=context.steps, times=context.times)
        self._stores = StoredUnion(place.dsn, place.warehouse)
        commit = place.commit
        self._stage = Stage(commit.dsn, commit.warehouse, context.clock, steps=context.steps)
        self._connection: psycopg.Connection | None = None
        self._mover: JournalToHot | None = None

    def run(self) -> None:
        """Run in a thread of its own."""
        backoff = Backoff(self._context, "writer")
        try:
            while not self._context.stop.is_set():
                try:
                    if not self._step() and self._is_drained():
                        return
                    backoff.reset()
                except SERVER_FAULTS as error:
                    self._context.progress.hot_faults += 1
                    self._let_go()
                    backoff.wait(error)
        finally:
            self._context.written.set()
            self._let_go()
            self._hot.close()
            self._reader.close()

    def _step(self) -> bool:
        """Write a batch if one is due; return whether anything was written."""
        context = self._context
        mover = self._opened()
        start_us = context.clock.monotonic_us()
        built = mover.step()
        context.progress.hot_frame = mover.last_frame
        if built is None:
            context.stop.wait(IDLE_S)
            return False
        progress = context.progress
        progress.events += built.events
        progress.batches += 1
        counted = {name: table.num_rows for name, table in built.tables.items()}
        progress.rows = added(progress.rows, counted)
        for feed, fates in built.fates.items():
            known = progress.fates.get(feed, {})
            progress.fates = {**progress.fates, feed: added(known, fates)}
        progress.lag_ms = (context.clock.now_us() - built.first_received_us) / 1000
        period_s = context.settings.hot_batch_ms / 1e3
        behind = mover.lag_frames() > 0 and context.seconds_since(start_us) > period_s
        if not behind and not context.drain.is_set():
            context.rest(period_s, start_us)
        return True

    def _is_drained(self) -> bool:
        drained = self._mover is not None and self._reader.durable() <= self._mover.last_frame
        return drained and self._context.drain.is_set()

    def _opened(self) -> JournalToHot:
        if self._mover is None:
            context = self._context
            self._connection = psycopg.connect(context.place.dsn, autocommit=True)
            self._mover = JournalToHot(
                self._connection,
                self._hot,
                self._reader,
                context.codecs,
                self._stores,
                context.lease,
                context.clock,
                recent=context.recent,
                times=context.times,
                stage=self._stage,
            )
        return self._mover

    def _let_go(self) -> None:
        if self._mover is not None:
            self._mover.close()
            self._mover = None
        self._stores.close()
        self._stage.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def added(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Return the sums by name."""
    return {**counts, **{name: counts.get(name, 0) + count for name, count in more.items()}}

"""The mover's third thread: the lake's upkeep, while this process holds the committer's lease."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import closing
from datetime import date, datetime, timedelta
from functools import partial

import psycopg
from pyiceberg.catalog.sql import SqlCatalog

from lake.clock import utc_from_us
from lake.contracts.contract import TICK_DATASETS, load
from lake.hot.lease import Lease
from lake.hot.partitions import ensure_partitions, summarize
from lake.hot.recovery import window_s
from lake.hot.staged_files import waiting_files
from lake.ingest.hot_to_dropped import drop_due
from lake.ingest.hot_to_lake import BOOKS
from lake.ingest.lake_files import RemovalBook
from lake.ingest.mover_context import SERVER_FAULTS, Backoff, MoverContext
from lake.ingest.sealer import Sealer
from lake.tables.catalog import open_catalog
from lake.tables.old_metadata import remove_old_metadata
from lake.tables.tags import keep_tags
from lake.tables.trino_upkeep import TrinoUpkeep
from lake.tables.upkeep import Upkeep
from lake.trino_session import Trino, TrinoAway
from lake.views.client import Client

EPOCH_ORDINAL = date(1970, 1, 1).toordinal()

ROUND_S = 2.0
WHOLE_EVERY = 30
"""Every so many rounds look at whole tables, and remove files whose grace has passed."""

ORPHANS_EVERY = 1_800
ORPHAN_AGE_S = 3_600
"""Every so many rounds (an hour; and at the start) look for files that no snapshot needs and that
are older than any commit in flight."""

LEAVE_EVERY = 450
"""Every so many rounds (15 minutes) let days leave hot whose age has come and that are proven."""


TRINO_REST_US = 60_000_000
"""While Trino does not answer, upkeep is done in process; it is asked again after so long."""

CUT_SHORT_S = 0.5
"""Between two tries to end a statement of Trino's in a drain."""

SEAL_EVERY = 5
"""Every so many rounds (10 s) look whether a segment of a journal is due, or its sealing done."""


class KeepLoop:
    """Merge small files, expire snapshots, remove files; never in the way of a commit."""

    def __init__(self, context: MoverContext) -> None:
        self._context = context
        self._unmerged: dict[str, set[int]] = {}
        self._partitions: set[tuple[str, date]] = set()
        place = context.place
        self._trino = Trino(**place.trino) if place.trino else None
        self._trino_again_us = 0

    def run(self) -> None:
        """Run in a thread of its own; ends when a drain begins."""
        over = threading.Event()
        if self._trino is not None:
            threading.Thread(target=self._cut_short, args=(self._trino, over), daemon=True).start()
        with closing(Sealer(self._context)) as sealer:
            try:
                self._run(sealer)
            finally:
                over.set()

    def _cut_short(self, session: Trino, over: threading.Event) -> None:
        """End what Trino does once a drain begins: a merge of much may take minutes."""
        self._context.drain.wait()
        while not over.wait(CUT_SHORT_S):
            session.cancel()

    def _run(self, sealer: Sealer) -> None:
        context = self._context
        backoff = Backoff(context, "keeper")
        rounds = 0
        while not (context.stop.is_set() or context.drain.is_set()):
            try:
                if context.committer is not None and context.tables:
                    self._round(context.committer, rounds)
                    if rounds % LEAVE_EVERY == LEAVE_EVERY - 1:
                        with context.times.stage("leave"):
                            self._leave()
                    if rounds % SEAL_EVERY == 0:
                        sealer.turn()
                    rounds += 1
                    backoff.reset()
            except SERVER_FAULTS as error:
                if isinstance(error, TrinoAway):
                    self._trino_again_us = context.clock.monotonic_us() + TRINO_REST_US
                backoff.wait(error)
            context.drain.wait(ROUND_S)

    def _round(self, lease: Lease, rounds: int) -> None:
        context = self._context
        whole = rounds % WHOLE_EVERY == 0
        access = context.place.keep
        with (
            closing(open_catalog(access.dsn, access.warehouse, epoch=lease.epoch)) as catalog,
            psycopg.connect(access.dsn, autocommit=True) as connection,
        ):
            book = RemovalBook(connection)
            for table in context.tables:
                if context.drain.is_set():
                    return
                upkeep = self._upkeep(catalog, table.dataset, lease)
                touched = table.touched_days()
                self._unmerged.setdefault(table.dataset, set()).update(touched)
                if touched and table.dataset in TICK_DATASETS:
                    summarize(connection, table.dataset, map(_date, touched))
                self._merge(upkeep, table.dataset, book, whole=whole)
                if whole or table.dataset not in BOOKS:
                    with context.times.stage("expire"):
                        book.freed(table.dataset, upkeep.expire())
                if whole:
                    self._remove(upkeep, table.dataset, book)
                    upkeep.forget()
                    keep_tags(catalog, table.dataset, self._now(), context.commit_lock)
                if rounds % ORPHANS_EVERY == 0:
                    waiting = waiting_files(connection, table.dataset)
                    self._sweep(upkeep, book, window_s(connection), waiting)
                    self._forget_metadata(catalog, table.dataset, window_s(connection))
            if whole:
                self._make_ahead(connection)

    def _upkeep(self, catalog: SqlCatalog, dataset: str, lease: Lease) -> Upkeep:
        context = self._context
        sort = load(dataset).sort
        new: Callable[..., Upkeep] = Upkeep
        if self._trino is not None and context.clock.monotonic_us() >= self._trino_again_us:
            new = partial(TrinoUpkeep, session=self._trino)
        return new(
            catalog,
            dataset,
            sort,
            epoch=lease.epoch,
            commit_lock=context.commit_lock,
            steps=context.steps,
        )

    def _sweep(
        self, upkeep: Upkeep, book: RemovalBook, kept_s: int, waiting: Collection[str]
    ) -> None:
        """Find files that nobody needs; what they were needed for may still run.

        kept_s: how far back a restore may go. Trino's sweeps go by a file's age, not by when it
        was let go of, so where there is a window the book does it alone. waiting: staged files.
        """
        if isinstance(upkeep, TrinoUpkeep) and not kept_s:
            if not waiting:  # a sweep would take a staged file that is older than its age
                upkeep.sweep(self._now())
        else:
            old_us = self._context.clock.now_us() - ORPHAN_AGE_S * 1_000_000
            book.freed(upkeep.dataset, upkeep.orphans(old_us))

    def _forget_metadata(self, catalog: SqlCatalog, dataset: str, kept_s: int) -> None:
        """Remove metadata files that no restore and no commit in flight can name."""
        before_us = self._context.clock.now_us() - max(kept_s, ORPHAN_AGE_S) * 1_000_000
        remove_old_metadata(catalog, dataset, before_us)

    def _now(self) -> datetime:
        return utc_from_us(self._context.clock.now_us())

    def _make_ahead(self, connection: psycopg.Connection) -> None:
        """Make today's and tomorrow's partitions before their first row."""
        today = self._now().date()
        for dataset in TICK_DATASETS:
            ensure_partitions(
                connection, dataset, (today, today + timedelta(days=1)), self._partitions
            )

    def _leave(self) -> None:
        """Drop hot days after proof; a day that stays is looked at again next time."""
        context = self._context
        access = context.place.keep
        with (
            psycopg.connect(access.dsn, autocommit=True) as connection,
            Client(access.dsn, access.warehouse) as client,
        ):
            for leaving in drop_due(connection, client, context.clock):
                if not leaving.dropped:
                    fault = f"{leaving.dataset} {leaving.day} stays in hot: {leaving.reason}"
                    context.progress.last_fault = fault

    def _merge(self, upkeep: Upkeep, dataset: str, book: RemovalBook, *, whole: bool) -> None:
        days = self._unmerged[dataset]
        if not (whole or days):
            return
        with self._context.times.stage("merge"):
            merged = upkeep.merge(None if whole else days)
        if merged is None:
            days.clear()
            return
        self._context.progress.merges += 1
        book.freed(dataset, merged.freed)

    def _remove(self, upkeep: Upkeep, dataset: str, book: RemovalBook) -> None:
        due = book.due(dataset)
        if due:
            with self._context.times.stage("remove"):
                self._context.progress.files_removed += upkeep.remove(due)
            book.removed(due)


def _date(day: int) -> date:
    """Return the day that lies so many days after the epoch."""
    return date.fromordinal(EPOCH_ORDINAL + day)

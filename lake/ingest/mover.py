"""The process beside a socket reader: journal to hot, hot to lake, upkeep; three threads.

It ends when told to drain and everything durable is in the lake, or at once when it is fenced. A
thread that meets a server that is not there waits and goes on; it never loses its place, since its
place is in the stores.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from lake.clock import Clock
from lake.contracts.contract import load
from lake.errors import TicklakeError, Unavailable
from lake.feeds.codec import Codec
from lake.hot.hot_reader import HotReader, last_frames
from lake.hot.hot_tier import HotTier
from lake.hot.lease import COMMITTER, LEASE_SECONDS, Lease, beat, release, take
from lake.ingest.hot_to_lake import LAKE_DATASETS, HotToLake
from lake.ingest.journal_to_hot import JournalToHot
from lake.ingest.lake_files import RemovalBook
from lake.ingest.recent_batches import RecentBatches
from lake.ingest.stored_keys import StoredUnion
from lake.journal.reader import JournalReader
from lake.settings import Settings
from lake.steps import Steps
from lake.tables.catalog import open_catalog
from lake.tables.lake_table import LakeTable, announce
from lake.tables.upkeep import Upkeep

IDLE_S = 0.005
"""Pause of the writer when nothing is durable beyond what it wrote."""

BEAT_S = LEASE_SECONDS / 5
RETRY_S_MIN = 0.1
RETRY_S_MAX = 2.0
ANNOUNCE_TRIES_MAX = 50
UPKEEP_S = 2.0
WHOLE_EVERY = 30
"""Every so many rounds of upkeep look at whole tables, and remove files whose grace has passed."""


@dataclass
class Progress:
    """What the threads have done so far; read by whoever shows it."""

    hot_frame: int = 0
    lake_frame: int = 0
    events: int = 0
    lag_ms: float = 0.0
    lake_lag_ms: float = 0.0
    hot_faults: int = 0
    lake_faults: int = 0
    merges: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    last_fault: str = ""
    committer: bool = False


@dataclass(frozen=True, slots=True)
class MoverPlace:
    """Where a mover works."""

    dsn: str
    warehouse: str
    journal: Path
    shard: int


class Mover:
    """One shard's writer, and a candidate for the lake's committer."""

    def __init__(
        self,
        place: MoverPlace,
        lease: Lease,
        codecs: Mapping[str, Codec],
        settings: Settings,
        clock: Clock,
        steps: Steps,
    ) -> None:
        self._place = place
        self._lease = lease
        self._codecs = codecs
        self._settings = settings
        self._clock = clock
        self._steps = steps
        self._recent = RecentBatches(place.shard)
        self._commit_lock = threading.Lock()
        self._committer: Lease | None = None
        self._committer_changed = threading.Event()
        self._tables: list[LakeTable] = []
        self._unmerged: dict[str, set[int]] = {}
        self.progress = Progress()
        self.stop = threading.Event()
        self.drain = threading.Event()
        self.fault: BaseException | None = None

    def run(self) -> None:
        """Work until drained or fenced; raises what ended it."""
        with psycopg.connect(self._place.dsn, autocommit=True) as connection:
            catalog = open_catalog(self._place.dsn, self._place.warehouse)
            announce(catalog, LAKE_DATASETS, self._place.shard, tries_max=ANNOUNCE_TRIES_MAX)
            loops = (self._write, self._commit, self._keep)
            threads = [threading.Thread(target=self._guard, args=(loop,)) for loop in loops]
            for thread in threads:
                thread.start()
            self._beat(connection, threads)
        if self.fault is not None:
            raise self.fault

    def _beat(self, connection: psycopg.Connection, threads: list[threading.Thread]) -> None:
        next_beat = 0.0
        while any(thread.is_alive() for thread in threads):
            if time.monotonic() >= next_beat:
                connection = self._beat_once(connection)
                next_beat = time.monotonic() + BEAT_S
            self.stop.wait(0.1) if not self.stop.is_set() else time.sleep(0.05)
        if self.fault is None:
            for lease in filter(None, (self._lease, self._committer)):
                release(connection, lease)

    def _beat_once(self, connection: psycopg.Connection) -> psycopg.Connection:
        try:
            if connection.closed:
                connection = psycopg.connect(self._place.dsn, autocommit=True)
            beat(connection, self._lease)
            if self._committer is not None:
                beat(connection, self._committer)
            elif not self.stop.is_set():
                self._committer = take(connection, COMMITTER)
                self.progress.committer = self._committer is not None
                self._committer_changed.set()
        except psycopg.Error as error:
            self.progress.last_fault = str(error).strip()
            connection.close()
        except TicklakeError as error:
            self._end(error)
        return connection

    def _end(self, error: BaseException) -> None:
        self.fault = self.fault or error
        self.stop.set()

    def _guard(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException as error:  # a thread's end is the process' end: hand it to run()
            self._end(error)

    def _write(self) -> None:
        reader = JournalReader(self._place.journal, self._place.shard)
        hot = HotTier(self._place.dsn, steps=self._steps)
        stores = StoredUnion(self._place.dsn)
        wait_s = RETRY_S_MIN
        connection: psycopg.Connection | None = None
        mover: JournalToHot | None = None
        while not self.stop.is_set():
            try:
                if mover is None:
                    connection = psycopg.connect(self._place.dsn, autocommit=True)
                    mover = JournalToHot(
                        connection,
                        hot,
                        reader,
                        self._codecs,
                        stores,
                        self._lease,
                        self._clock,
                        recent=self._recent,
                    )
                idle = not self._write_step(mover, reader)
                wait_s = RETRY_S_MIN
            except (Unavailable, psycopg.OperationalError) as error:
                self.progress.hot_faults += 1
                self.progress.last_fault = str(error)
                mover = None
                stores.close()
                if connection is not None:
                    connection.close()
                self.stop.wait(wait_s)
                wait_s = min(RETRY_S_MAX, wait_s * 2)
                continue
            if idle and self.drain.is_set() and reader.durable() <= mover.last_frame:
                break
        reader.close()
        hot.close()
        stores.close()

    def _write_step(self, mover: JournalToHot, reader: JournalReader) -> bool:
        """Write a batch if one is due; return whether anything was written."""
        start_us = self._clock.monotonic_us()
        built = mover.step()
        if built is None:
            self.stop.wait(IDLE_S)
            return False
        progress = self.progress
        progress.hot_frame = built.last_frame
        progress.events += built.events
        for name, table in built.tables.items():
            progress.rows[name] = progress.rows.get(name, 0) + table.num_rows
        progress.lag_ms = (self._clock.now_us() - built.first_received_us) / 1000
        spent_s = (self._clock.monotonic_us() - start_us) / 1e6
        behind = mover.lag_frames() > 0 and spent_s > self._settings.hot_batch_ms / 1e3
        if not behind and not self.drain.is_set():
            self.stop.wait(max(0.0, self._settings.hot_batch_ms / 1e3 - spent_s))
        return True

    def _commit(self) -> None:
        wait_s = RETRY_S_MIN
        while not self.stop.is_set():
            if self._committer is None:
                if self.drain.is_set() and self._is_in_lake():
                    return
                self._committer_changed.wait(0.2)
                continue
            try:
                if self._commit_until_drained(self._committer):
                    return
            except (Unavailable, psycopg.OperationalError, ConnectionError) as error:
                self.progress.lake_faults += 1
                self.progress.last_fault = str(error)
                self.stop.wait(wait_s)
                wait_s = min(RETRY_S_MAX, wait_s * 2)

    def _commit_until_drained(self, lease: Lease) -> bool:
        """Commit every lake_commit_ms; return True once drained, False when stopped."""
        catalog = open_catalog(self._place.dsn, self._place.warehouse, epoch=lease.epoch)
        self._tables = [
            LakeTable(catalog, dataset, epoch=lease.epoch, steps=self._steps)
            for dataset in LAKE_DATASETS
        ]
        with psycopg.connect(self._place.dsn, autocommit=True) as connection:
            mover = HotToLake(
                connection,
                HotReader(self._place.dsn),
                self._tables,
                recent=self._recent,
                commit_lock=self._commit_lock,
            )
            while not self.stop.is_set():
                start_us = self._clock.monotonic_us()
                drained = self.drain.is_set() and self._is_written(connection)
                moved = mover.step()
                self.progress.lake_frame = last_frames(connection).get(self._place.shard, 0)
                if moved.more:
                    continue
                if drained:
                    return True
                spent_s = (self._clock.monotonic_us() - start_us) / 1e6
                period_s = 0.05 if self.drain.is_set() else self._settings.lake_commit_ms / 1e3
                self.stop.wait(max(0.0, period_s - spent_s))
        return False

    def _is_written(self, connection: psycopg.Connection) -> bool:
        """Tell whether hot holds every durable frame of our journal."""
        reader = JournalReader(self._place.journal, self._place.shard)
        durable = reader.durable()
        reader.close()
        return last_frames(connection).get(self._place.shard, 0) >= durable

    def _is_in_lake(self) -> bool:
        """Tell whether another committer has taken everything of our shard to the lake."""
        catalog = open_catalog(self._place.dsn, self._place.warehouse)
        with psycopg.connect(self._place.dsn, autocommit=True) as connection:
            if not self._is_written(connection):
                return False
            last = last_frames(connection).get(self._place.shard, 0)
        for dataset in ("ingest_batches",):
            table = LakeTable(catalog, dataset, epoch=0)
            if table.holdings().through.get(self._place.shard, 0) < last:
                return False
        return True

    def _keep(self) -> None:
        """Merge, expire and remove while this process is the committer."""
        rounds = 0
        while not (self.stop.is_set() or self.drain.is_set()):
            if self._committer is None:
                self.drain.wait(0.2)
                continue
            try:
                self._keep_once(self._committer, whole=rounds % WHOLE_EVERY == 0)
                rounds += 1
            except (Unavailable, psycopg.OperationalError) as error:
                self.progress.last_fault = str(error)
            self.drain.wait(UPKEEP_S)

    def _keep_once(self, lease: Lease, *, whole: bool) -> None:
        """One round over all tables; a whole one looks at every day and removes files."""
        catalog = open_catalog(self._place.dsn, self._place.warehouse, epoch=lease.epoch)
        with psycopg.connect(self._place.dsn, autocommit=True) as connection:
            book = RemovalBook(connection)
            for table in self._tables:
                dataset = table.dataset
                upkeep = Upkeep(
                    catalog,
                    dataset,
                    load(dataset).sort,
                    epoch=lease.epoch,
                    commit_lock=self._commit_lock,
                    steps=self._steps,
                )
                if self.drain.is_set():
                    return
                days = self._unmerged.setdefault(dataset, set())
                days |= table.touched_days()
                merged = upkeep.merge(None if whole else days) if whole or days else None
                if merged is None:
                    days.clear()
                else:
                    self.progress.merges += 1
                    book.freed(dataset, merged.freed)
                book.freed(dataset, upkeep.expire())
                due = book.due(dataset) if whole else []
                if due:
                    upkeep.remove(due)
                    book.removed(due)

"""The path's owners as the processes have them, but stepped one by one from outside.

Each stands for the part of a process that holds a lease. `let_go` is what its loop does when a
server is away; `die` is the end of the process, with no part in what the server then does.
"""

from __future__ import annotations

import threading
from collections import Counter

import psycopg

from lake.contracts.contract import load
from lake.hot.hot_reader import HotReader
from lake.hot.hot_tier import HotTier
from lake.hot.lease import COMMITTER, Lease, shard_lease, take
from lake.ingest.codecs import codecs
from lake.ingest.hot_to_lake import HotToLake
from lake.ingest.journal_to_hot import JournalToHot
from lake.ingest.lake_files import RemovalBook
from lake.ingest.recent_batches import RecentBatches
from lake.ingest.stored_keys import StoredUnion
from lake.journal.reader import JournalReader
from lake.tables.lake_table import LakeTable, announce
from lake.tables.upkeep import Upkeep
from tests.path.chaos.faults import ArmedSteps
from tests.path.chaos.place import DATASETS, LIMITS, Place

ANNOUNCE_TRIES_MAX = 3


def taken(place: Place, name: str) -> Lease:
    """Take a lease over from whoever holds it."""
    place.expire_lease(name)
    with psycopg.connect(place.dsn, autocommit=True) as connection:
        lease = take(connection, name)
    assert lease is not None
    return lease


class Writer:
    """Owner of a shard: journal to hot."""

    def __init__(self, place: Place, shard: int) -> None:
        self.place = place
        self.shard = shard
        self.steps = ArmedSteps()
        self.recent = RecentBatches(shard)
        self.lease = taken(place, shard_lease(shard))
        self.introduced = False
        self.stale = False
        self.busy = False
        self.tally: Counter[str] = Counter()
        self._reader = JournalReader(place.shard(shard), shard)
        self._hot = HotTier(place.dsn, steps=self.steps)
        self._stores = StoredUnion(place.dsn)
        self._connection: psycopg.Connection | None = None
        self._mover: JournalToHot | None = None

    def step(self) -> bool:
        """Write the next batch; return whether there was one."""
        if not self.introduced:
            catalog = self.place.catalog()
            tries = ANNOUNCE_TRIES_MAX
            announce(catalog, DATASETS, self.shard, tries_max=tries, steps=self.steps)
            self.introduced = True  # also if it is stale by now: that does no harm
        if self._mover is None:
            self._connection = psycopg.connect(self.place.dsn, autocommit=True)
            self._mover = JournalToHot(
                self._connection,
                self._hot,
                self._reader,
                codecs(),
                self._stores,
                self.lease,
                self.place.clock,
                recent=self.recent,
            )
        built = self._mover.step()
        self.tally["batches"] += built is not None
        return built is not None

    def let_go(self) -> None:
        """Do as the loop does when the server is not there."""
        self._mover = None
        self._stores.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def die(self) -> None:
        """End."""
        self.let_go()
        self._hot.close()
        self._reader.close()


class Committer:
    """Owner of the lake: hot to lake, and upkeep.

    recent: the batches of the writer in the same process, if it is one.
    """

    def __init__(self, place: Place, recent: RecentBatches | None) -> None:
        self.place = place
        self.steps = ArmedSteps()
        self.lease = taken(place, COMMITTER)
        self.introduced = True
        self.stale = False
        self.busy = False
        self.tally: Counter[str] = Counter()
        self.lock = threading.Lock()
        self._recent = recent
        self._catalog = place.catalog(self.lease.epoch)
        self._reader = HotReader(place.dsn)
        self._connection: psycopg.Connection | None = None
        self._mover: HotToLake | None = None

    def step(self) -> bool:
        """Commit what hot has; return whether more was waiting."""
        moved = self._opened().step()
        self.tally["commits"] += sum(rows > 0 for rows in moved.rows.values())
        return moved.more

    def keep(self, what: str, dataset: str) -> None:
        """Do one kind of upkeep on a table."""
        self._opened()
        assert self._connection is not None
        book = RemovalBook(self._connection)
        upkeep = Upkeep(
            self._catalog,
            dataset,
            load(dataset).sort,
            epoch=self.lease.epoch,
            commit_lock=self.lock,
            steps=self.steps,
            limits=LIMITS,
        )
        if what == "merge":
            merged = upkeep.merge()
            self.tally["merges"] += merged is not None
            book.freed(dataset, merged.freed if merged else [])
        elif what == "expire":
            freed = upkeep.expire()
            self.tally["expiries"] += bool(freed)
            book.freed(dataset, freed)
        else:
            due = book.due(dataset)
            self.tally["files removed"] += upkeep.remove(due)
            book.removed(due)

    def let_go(self) -> None:
        """Do as the loop does when the server is not there."""
        self._mover = None
        self._reader.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def die(self) -> None:
        """End."""
        self.let_go()
        self._catalog.engine.dispose()

    def _opened(self) -> HotToLake:
        if self._mover is None:
            self._connection = psycopg.connect(self.place.dsn, autocommit=True)
            tables = [
                LakeTable(self._catalog, name, epoch=self.lease.epoch, steps=self.steps)
                for name in DATASETS
            ]
            self._mover = HotToLake(
                self._connection, self._reader, tables, recent=self._recent, commit_lock=self.lock
            )
        return self._mover

"""Upkeep of lake tables: merge small files, expire snapshots, remove what is free.

The mover keeps the ticks' tables beside its commits and under their lock; a run of this one races
with those commits, and the loser tries again once. What flows make is kept here alone, in turn
with those who make it. A file goes when no snapshot and no tag needs it and its grace is over.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import psycopg

from flows.jobs import UPKEEP
from lake.clock import Clock, utc_from_us
from lake.contracts.contract import LAKE_ONLY_DATASETS, NUMBERED_DATASETS, load
from lake.errors import Unavailable
from lake.hot.lease import COMMITTER
from lake.hot.recovery import window_s
from lake.hot.turn import TURN_S_MAX, turn
from lake.ingest.hot_to_lake import LAKE_DATASETS
from lake.ingest.lake_files import RemovalBook
from lake.lineage.destination import NAMESPACE as LINEAGE_NAMESPACE
from lake.lineage.job import Job, lake
from lake.lineage.run import Run, Teller
from lake.tables.catalog import open_catalog
from lake.tables.names import NAMESPACE
from lake.tables.old_metadata import keep_metadata, remove_old_metadata
from lake.tables.tags import keep_tags
from lake.tables.upkeep import LIMITS, REMOVE_AFTER_S, Merged, Upkeep, UpkeepLimits
from lake.warehouse import Warehouse

T = TypeVar("T")

FLOW_DATASETS = (*LAKE_ONLY_DATASETS, *NUMBERED_DATASETS)
"""Made by flows, each under the lease of its own name; nobody else keeps them."""

KEPT_DATASETS = (*LAKE_DATASETS, *FLOW_DATASETS)

ORPHAN_AGE_S = 3_600
"""Age from which on a file that nothing names is no commit's that is under way."""

MERGES_MAX = 1_000
"""Merges of one table in one run."""

TRIES_MAX = 5
"""Tries of a step that others' commits overtake."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What upkeep did to one table; bytes_merged: of the small files."""

    dataset: str
    merges: int = 0
    files_merged: int = 0
    files_made: int = 0
    bytes_merged: int = 0
    files_freed: int = 0
    files_removed: int = 0

    def line(self) -> str:
        """Return it in words."""
        return (
            f"{self.dataset:18} {self.files_merged:,} files became {self.files_made:,}"
            f" in {self.merges:,} merges, {self.files_removed:,} files removed"
        )

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def upkeep_of(dataset: str) -> Job:
    """Return the job that keeps a table: what it reads it writes, in larger files."""
    return replace(UPKEEP, reads=(lake(dataset),), writes=(lake(dataset),))


def keep(
    dsn: str,
    warehouse: Warehouse,
    clock: Clock,
    dataset: str,
    *,
    wait_s: float = TURN_S_MAX,
    grace_s: float = REMOVE_AFTER_S,
    sweep_age_s: float | None = ORPHAN_AGE_S,
    namespace: str = LINEAGE_NAMESPACE,
    limits: UpkeepLimits = LIMITS,
) -> Kept:
    """Keep one table; the same call again finds little to do, and may be killed at any point.

    grace_s: how long a file stays after the table let go of it; sweep_age_s: files that nothing
    names are let go of from this age on, None does not look for them, which costs a listing.
    limits: when it acts. Merges cost what is new: files of about one size are merged with each
    other. Raises Unavailable while another run holds its turn, or others commit first TRIES_MAX
    times.
    """
    own = dataset in FLOW_DATASETS
    lock = _Turns(dsn, dataset, wait_s) if own else nullcontext()
    with (
        turn(dsn, f"upkeep-{dataset}", wait_s=wait_s),
        psycopg.connect(dsn, autocommit=True) as connection,
        closing(open_catalog(dsn, warehouse)) as catalog,
    ):
        if not catalog.table_exists((NAMESPACE, dataset)):
            return Kept(dataset)
        epoch = _epoch(connection, dataset if own else COMMITTER)
        upkeep = Upkeep(
            catalog, dataset, load(dataset).sort, epoch=epoch, commit_lock=lock, limits=limits
        )
        book = RemovalBook(connection)
        if own:
            keep_metadata(catalog, dataset, keep=window_s(connection) > 0)
            keep_tags(catalog, dataset, utc_from_us(clock.now_us()), lock)
        merged = _merged(upkeep, book)
        freed = _tried(upkeep.expire)
        if sweep_age_s is not None:
            freed += upkeep.orphans(clock.now_us() - int(sweep_age_s * 1e6))
            old_us = clock.now_us() - int(max(sweep_age_s, window_s(connection)) * 1e6)
            remove_old_metadata(catalog, dataset, old_us)
        book.freed(dataset, freed)
        upkeep.forget()
        removed = 0
        while due := book.due(dataset, grace_s):
            removed += upkeep.remove(due)
            book.removed(due)
        head = catalog.load_table((NAMESPACE, dataset)).metadata.current_snapshot_id
    if merged:
        run = Run(Teller(dsn, clock, namespace), upkeep_of(dataset))
        run.wrote(lake(dataset), head)
        run.tell("COMPLETE")
    return Kept(
        dataset,
        len(merged),
        sum(each.files_before for each in merged),
        sum(each.files_after for each in merged),
        sum(each.bytes for each in merged),
        len(freed) + sum(len(each.freed) for each in merged),
        removed,
    )


class _Turns:
    """The turn of those who make a table, taken for the moment of each commit."""

    def __init__(self, dsn: str, dataset: str, wait_s: float) -> None:
        self._dsn = dsn
        self._dataset = dataset
        self._wait_s = wait_s
        self._held = ExitStack()

    def __enter__(self) -> None:
        self._held.enter_context(turn(self._dsn, self._dataset, wait_s=self._wait_s))

    def __exit__(self, *error: object) -> None:
        self._held.close()


def _epoch(connection: psycopg.Connection, lease: str) -> int:
    row = connection.execute("SELECT epoch FROM market.leases WHERE name = %s", (lease,)).fetchone()
    return int(row[0]) if row else 0


def _merged(upkeep: Upkeep, book: RemovalBook) -> list[Merged]:
    found: list[Merged] = []
    while len(found) < MERGES_MAX and (merged := _tried(upkeep.merge)) is not None:
        book.freed(upkeep.dataset, merged.freed)
        found.append(merged)
    return found


def _tried(step: Callable[[], T]) -> T:
    for left in reversed(range(TRIES_MAX)):
        try:
            return step()
        except Unavailable:
            if not left:
                raise
    raise AssertionError("a step returns or raises")

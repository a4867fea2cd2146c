"""Upkeep of the tables that flows make: merge small files, expire snapshots, remove what is free.

The ticks' tables are kept by the mover beside its commits; these are kept here, in turn with those
who make them. A file goes only when no snapshot and no tag needs it, and an hour after.
"""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass

from lake.clock import Clock
from lake.contracts.contract import load
from lake.hot.turn import TURN_S_MAX, turn
from lake.tables.catalog import open_catalog
from lake.tables.upkeep import Upkeep
from lake.warehouse import Warehouse

KEPT_DATASETS = ("bars",)
"""Each is made and kept under the lease of its own name."""

FREE_AGE_S = 3_600
"""Age at which a file that no snapshot needs is removed: longer than any query or commit."""

MERGES_MAX = 1_000
"""Merges of one table in one run."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What upkeep did to one table."""

    dataset: str
    merges: int
    files_merged: int
    snapshot_files_freed: int
    files_removed: int

    def line(self) -> str:
        """Return it in words."""
        return (
            f"{self.dataset}: {self.files_merged:,} files merged in {self.merges:,} merges,"
            f" {self.files_removed:,} files removed"
        )


def keep(
    dsn: str, warehouse: Warehouse, clock: Clock, dataset: str, *, wait_s: float = TURN_S_MAX
) -> Kept:
    """Keep one table; raises Unavailable while another run holds its turn.

    Merges cost what is new: files of about one size are merged with each other.
    """
    merges = files = 0
    with (
        turn(dsn, dataset, wait_s=wait_s) as held,
        closing(open_catalog(dsn, warehouse, epoch=held.epoch, lease=dataset)) as catalog,
    ):
        if not catalog.table_exists(("market", dataset)):
            return Kept(dataset, 0, 0, 0, 0)
        upkeep = Upkeep(
            catalog,
            dataset,
            load(dataset).sort,
            epoch=held.epoch,
            commit_lock=threading.Lock(),
        )
        while merges < MERGES_MAX and (merged := upkeep.merge()) is not None:
            merges += 1
            files += merged.files_before
        freed = upkeep.expire()
        upkeep.forget()
        removed = upkeep.remove(upkeep.orphans(clock.now_us() - FREE_AGE_S * 1_000_000))
    return Kept(dataset, merges, files, len(freed), removed)

"""Keep a table cheap to commit to and to read: merge small files, expire snapshots, remove files.

Merging reads and writes outside the commit lock and swaps files inside it, so an append waits for a
metadata swap at most. Files are merged with others of about their size (factor MERGE_FACTOR), so a
row is rewritten a few times in its life, however large the table. A removed file stays on disk for
REMOVE_AFTER_S, longer than any allowed query: nobody registers readers.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from lake.errors import Unavailable
from lake.steps import Steps
from lake.tables.catalog import NAMESPACE
from lake.tables.data_file import sorted_rows, time_column_of, write_data_files
from lake.tables.lake_table import (
    COMMIT_FAULTS,
    EPOCH,
    SNAPSHOT,
    THROUGH,
    holdings_of,
    translated,
)

MERGE_FACTOR = 16
"""Small files of a size class that are merged at once."""

ROWS_FINAL = 600_000
"""A file with this many rows is left alone: about 12 MB, and 100 MB of Arrow to sort."""

SNAPSHOTS_MAX = 60
"""Expire when more are kept; their number is what a commit costs (facts 1.6)."""

SNAPSHOTS_KEPT = 30

REMOVE_AFTER_S = 900
"""Seconds a file stays after the table let go of it: longer than the longest allowed query."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What one merge did."""

    files_before: int
    files_after: int
    rows: int
    freed: list[str]


class Upkeep:
    """Upkeep of one table; makes its commits under the committer's lock and epoch."""

    def __init__(
        self,
        catalog: SqlCatalog,
        dataset: str,
        sort_columns: Sequence[str],
        *,
        epoch: int,
        commit_lock: threading.Lock,
        steps: Steps | None = None,
    ) -> None:
        self.dataset = dataset
        self._catalog = catalog
        self._sort_columns = list(sort_columns)
        self._epoch = epoch
        self._lock = commit_lock
        self._steps = steps or Steps()

    def merge(self, days: Collection[int] | None = None) -> Merged | None:
        """Merge one group of small files; None when there is none.

        days: look at these days (since the epoch) only, so that the cost follows what is new; None
        looks at the whole table. Raises Fenced, or Unavailable when somebody else changed the table
        meanwhile.
        """
        table = self._load()
        scan = table.scan(row_filter=_within(time_column_of(table), days))
        group = _group_to_merge(task.file for task in scan.plan_files())
        if group is None:
            return None
        rows = sorted_rows(_read(table, group), self._sort_columns)
        self._steps.at("upkeep.rewrite")
        new = write_data_files(table, rows, time_column=time_column_of(table), compact=True)
        self._swap(group, new)
        freed = [file.file_path for file in group]
        return Merged(len(group), len(new), rows.num_rows, freed)

    def expire(self) -> list[str]:
        """Expire old snapshots; return the files that only they needed, none removed yet.

        Heads of branches and tags are kept, and everything they need.
        """
        with self._lock:
            table = self._load()
            metadata = table.metadata
            if len(metadata.snapshots) <= SNAPSHOTS_MAX or holdings_of(table).rolled_back:
                return []
            pinned = {ref.snapshot_id for ref in metadata.refs.values()}
            oldest = sorted(metadata.snapshots, key=lambda each: each.sequence_number or 0)
            going = [s for s in oldest[:-SNAPSHOTS_KEPT] if s.snapshot_id not in pinned]
            if not going:
                return []
            files = _metadata_files(table, (s.snapshot_id for s in going))
            try:
                table.maintenance.expire_snapshots().by_ids([s.snapshot_id for s in going]).commit()
            except COMMIT_FAULTS as error:
                raise translated(error, self.dataset) from error
            table = self._load()
            kept = _metadata_files(table, (s.snapshot_id for s in table.metadata.snapshots))
        return sorted(files - kept)

    def referenced(self, paths: Iterable[str]) -> set[str]:
        """Return which of these data or metadata files some kept snapshot still needs."""
        table = self._load()
        ids = [snapshot.snapshot_id for snapshot in table.metadata.snapshots]
        wanted = set(paths)
        metadata = _metadata_files(table, ids)
        data = {path for path in wanted if path.endswith(".parquet")}
        needed = wanted & metadata
        if data:
            needed |= data & _data_files(table)
        return needed

    def remove(self, paths: Iterable[str]) -> int:
        """Remove files that no kept snapshot needs; return how many are gone."""
        wanted = list(paths)
        needed = self.referenced(wanted)
        io = self._load().io
        removed = 0
        for path in wanted:
            if path in needed:
                continue
            self._steps.at("upkeep.remove")
            with suppress(FileNotFoundError):  # an earlier run died before it could say so
                io.delete(path)
            removed += 1
        return removed

    def _swap(self, old: Sequence[DataFile], new: Sequence[DataFile]) -> None:
        with self._lock:
            table = self._load()
            held = holdings_of(table)
            if held.rolled_back:
                raise Unavailable(f"lake.{self.dataset}", "rolled back", "the committer heals it")
            marks = {f"{THROUGH}{shard}": str(frame) for shard, frame in held.through.items()}
            evidence = {**marks, EPOCH: str(self._epoch), "ticklake.operation": "merge"}
            try:
                transaction = table.transaction()
                update = transaction.update_snapshot(snapshot_properties=evidence)
                with update.overwrite() as change:
                    for file in old:
                        change.delete_data_file(file)
                    for file in new:
                        change.append_data_file(file)
                    snapshot_id = change.snapshot_id
                transaction.set_properties({SNAPSHOT: str(snapshot_id)})
                self._steps.at("upkeep.commit")
                transaction.commit_transaction()
            except COMMIT_FAULTS as error:
                raise translated(error, self.dataset) from error

    def _load(self) -> Table:
        return self._catalog.load_table((NAMESPACE, self.dataset))


def _within(time_column: str | None, days: Collection[int] | None) -> str | AlwaysTrue:
    """Return the filter of rows of these days."""
    if time_column is None or not days:
        return AlwaysTrue()
    return " or ".join(
        f"({time_column} >= '{_iso(day)}' and {time_column} < '{_iso(day + 1)}')"
        for day in sorted(days)
    )


def _iso(day: int) -> str:
    return f"{np.datetime64(day, 'D')}T00:00:00+00:00"


def _group_to_merge(files: Iterable[DataFile]) -> list[DataFile] | None:
    """Return small files of one partition and size class that are worth merging."""
    classes: defaultdict[tuple[str, int], list[DataFile]] = defaultdict(list)
    for file in files:
        if file.record_count < ROWS_FINAL:
            size_class = (file.record_count.bit_length() - 1) // 4
            classes[(str(file.partition), size_class)].append(file)
    best: list[DataFile] | None = None
    for found in classes.values():
        group = _bounded(found)
        full = len(group) >= MERGE_FACTOR or sum(f.record_count for f in group) >= ROWS_FINAL
        if len(group) > 1 and full and (best is None or len(group) > len(best)):
            best = group
    return best


def _bounded(files: Sequence[DataFile]) -> list[DataFile]:
    group: list[DataFile] = []
    rows = 0
    for file in files:
        if rows >= ROWS_FINAL:
            break
        group.append(file)
        rows += file.record_count
    return group


def _read(table: Table, files: Sequence[DataFile]) -> pa.Table:
    parts = []
    for file in files:
        with table.io.new_input(file.file_path).open() as source:
            parts.append(pq.read_table(source))
    return pa.concat_tables(parts)


def _metadata_files(table: Table, snapshot_ids: Iterable[int]) -> set[str]:
    """Return manifest lists and manifests of these snapshots."""
    found: set[str] = set()
    for snapshot_id in snapshot_ids:
        snapshot = table.metadata.snapshot_by_id(snapshot_id)
        if snapshot is None:
            continue
        found.add(snapshot.manifest_list)
        found.update(manifest.manifest_path for manifest in snapshot.manifests(table.io))
    return found


def _data_files(table: Table) -> set[str]:
    """Return the live data files of every kept snapshot."""
    manifests = {}
    for snapshot in table.metadata.snapshots:
        for manifest in snapshot.manifests(table.io):
            manifests[manifest.manifest_path] = manifest
    return {
        entry.data_file.file_path
        for manifest in manifests.values()
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
    }

"""Keep a table cheap to commit to and to read: merge small files, expire snapshots, remove files.

Merging reads and writes outside the commit lock and swaps files inside it, so an append waits for a
metadata swap at most. Files are merged with others of about their size, so a row is rewritten a few
times in its life, however large the table. A removed file stays on disk for REMOVE_AFTER_S, longer
than any allowed query: nobody registers readers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.update import RemoveSnapshotsUpdate

from lake.errors import Unavailable
from lake.steps import Steps
from lake.tables.account import data_files, metadata_files
from lake.tables.commit import commit_on_head, faults_of
from lake.tables.data_file import sorted_rows, time_column_of, write_data_files
from lake.tables.lake_marks import forget_marks
from lake.tables.lake_table import holdings_of
from lake.tables.names import NAMESPACE, SNAPSHOT
from lake.tables.swap import swap_files
from lake.tables.warehouse_io import WarehouseIO

REMOVE_AFTER_S = 900
"""Seconds a file stays after the table let go of it: longer than the longest allowed query."""


READERS = 4
"""Files read at once: on S3 most of a small file's time is the way there."""


@dataclass(frozen=True, slots=True)
class UpkeepLimits:
    """When upkeep acts.

    merge_factor: small files of a size class that are merged at once.
    rows_final: a file with so many rows is left alone: about 5 MB, and 70 MB of Arrow to sort.
    snapshots_max: expire when more are kept, down to snapshots_kept; their number is what a commit
    costs (facts 1.6).
    """

    merge_factor: int = 16
    rows_final: int = 400_000
    snapshots_max: int = 60
    snapshots_kept: int = 30


LIMITS = UpkeepLimits()

Rows = str | AlwaysTrue
"""A filter of rows, as pyiceberg takes it."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What one merge did; bytes: of the files that were merged."""

    files_before: int
    files_after: int
    rows: int
    freed: list[str]
    bytes: int = 0


class Upkeep:
    """Upkeep of one table; makes its commits under the committer's lock and epoch."""

    def __init__(
        self,
        catalog: SqlCatalog,
        dataset: str,
        sort_columns: Sequence[str],
        *,
        epoch: int,
        commit_lock: AbstractContextManager[object],
        steps: Steps | None = None,
        limits: UpkeepLimits = LIMITS,
    ) -> None:
        self.dataset = dataset
        self._catalog = catalog
        self._sort_columns = list(sort_columns)
        self._epoch = epoch
        self._lock = commit_lock
        self._steps = steps or Steps()
        self._limits = limits

    def merge(self, days: Collection[int] | None = None) -> Merged | None:
        """Merge one group of small files; None when there is none.

        days: look at these days (since the epoch) only, so that the cost follows what is new; None
        looks at the whole table. Raises Fenced, or Unavailable when somebody else changed the table
        meanwhile.
        """
        with faults_of(self.dataset):
            table = self.load()
            within = rows_of_days(time_column_of(table), days)
            group = group_to_merge(live_files(table, within), self._limits)
            if group is None:
                return None
            rows = sorted_rows(_read(table, group), self._sort_columns)
            self._steps.at("upkeep.rewrite")
            new = write_data_files(table, rows, time_column=time_column_of(table), compact=True)
            self._swap(table, within, group, new)
        freed = [file.file_path for file in group]
        size = sum(file.file_size_in_bytes for file in group)
        return Merged(len(group), len(new), rows.num_rows, freed, size)

    def expire(self) -> list[str]:
        """Expire old snapshots; return the files that only they needed, none removed yet.

        Heads of branches and tags are kept, and everything they need.
        """
        with self._lock, faults_of(self.dataset):
            return self._expire()

    def forget(self) -> int:
        """Forget what was noted of snapshots that are long gone; return how many."""
        with faults_of(self.dataset):
            table = self.load()
            kept = {each.snapshot_id for each in table.metadata.snapshots}
            named = table.properties.get(SNAPSHOT)
            kept |= {int(named)} if named else set()
            return forget_marks(self._catalog, self.dataset, kept)

    def referenced(self, paths: Iterable[str]) -> set[str]:
        """Return which of these data or metadata files some kept snapshot still needs."""
        wanted = set(paths)
        data = {path for path in wanted if path.endswith(".parquet")}
        with faults_of(self.dataset):
            table = self.load()
            ids = [snapshot.snapshot_id for snapshot in table.metadata.snapshots]
            needed = wanted & metadata_files(table, ids)
            if data:
                needed |= data & data_files(table)
        return needed

    def remove(self, paths: Iterable[str]) -> int:
        """Remove files that no kept snapshot needs; return how many are gone."""
        wanted = list(paths)
        needed = self.referenced(wanted)
        removed = 0
        with faults_of(self.dataset):
            io = self.load().io
            for path in wanted:
                if path in needed:
                    continue
                self._steps.at("upkeep.remove")
                with suppress(FileNotFoundError):  # an earlier run died before it could say so
                    io.delete(path)
                removed += 1
        return removed

    def orphans(self, before_us: int) -> list[str]:
        """Return files of the table that no kept snapshot needs and that are older than this.

        A commit that died left them, or an entry in the book of removals that was never written.
        """
        with faults_of(self.dataset):
            table = self.load()
            assert isinstance(table.io, WarehouseIO)
            old = {
                file.location
                for file in table.io.listed(table.location())
                if file.location.endswith((".parquet", ".avro")) and file.changed_us < before_us
            }
        return sorted(old - self.referenced(old))

    def _expire(self) -> list[str]:
        table = self.load()
        metadata = table.metadata
        if len(metadata.snapshots) <= self._limits.snapshots_max or holdings_of(table).rolled_back:
            return []
        pinned = {ref.snapshot_id for ref in metadata.refs.values()}
        oldest = sorted(metadata.snapshots, key=lambda each: each.sequence_number or 0)
        old = oldest[: -self._limits.snapshots_kept]
        going = [s.snapshot_id for s in old if s.snapshot_id not in pinned]
        if not going:
            return []
        files = metadata_files(table, going)
        self._steps.at("upkeep.expire")
        # On this head only: by then others may have rolled back to one of those that go.
        try:
            commit_on_head(table, RemoveSnapshotsUpdate.model_validate({"snapshot-ids": going}))
        except ValueError as error:  # the library's word for one that is not there any more
            raise Unavailable(
                f"lake.{self.dataset}", "others expired snapshots meanwhile", "expire anew"
            ) from error
        table = self.load()
        kept = metadata_files(table, (s.snapshot_id for s in table.metadata.snapshots))
        return sorted(files - kept)

    def _swap(
        self, read: Table, within: Rows, old: Sequence[DataFile], new: Sequence[DataFile]
    ) -> None:
        """Put new files for old ones, which were chosen in `read` among the rows `within`."""
        with self._lock:
            table = self.load()
            held = holdings_of(table)
            if held.rolled_back:
                raise Unavailable(f"lake.{self.dataset}", "rolled back", "the committer heals it")
            if table.metadata.current_snapshot_id != read.metadata.current_snapshot_id:
                # The library takes it in silence when a file to delete is not there any more.
                live = {file.file_path for file in live_files(table, within)}
                if not live.issuperset(file.file_path for file in old):
                    raise Unavailable(
                        f"lake.{self.dataset}", "others changed the files meanwhile", "merge anew"
                    )
            swap_files(
                self._catalog,
                self.dataset,
                table,
                old,
                new,
                epoch=self._epoch,
                operation="merge",
                before_commit=lambda: self._steps.at("upkeep.commit"),
            )

    def load(self) -> Table:
        """Return the table as it is now."""
        return self._catalog.load_table((NAMESPACE, self.dataset))


def live_files(table: Table, within: Rows) -> Iterator[DataFile]:
    """Yield the live files that may hold such rows."""
    return (task.file for task in table.scan(row_filter=within).plan_files())


def rows_of_days(time_column: str | None, days: Collection[int] | None) -> Rows:
    """Return the filter of rows of these days."""
    if time_column is None or not days:
        return AlwaysTrue()
    return " or ".join(
        f"({time_column} >= '{_iso(day)}' and {time_column} < '{_iso(day + 1)}')"
        for day in sorted(days)
    )


def _iso(day: int) -> str:
    return f"{np.datetime64(day, 'D')}T00:00:00+00:00"


def group_to_merge(files: Iterable[DataFile], limits: UpkeepLimits) -> list[DataFile] | None:
    """Return small files of one partition and size class that are worth merging."""
    classes: defaultdict[tuple[str, int], list[DataFile]] = defaultdict(list)
    for file in files:
        if file.record_count < limits.rows_final:
            size_class = (file.record_count.bit_length() - 1) // 4
            classes[(str(file.partition), size_class)].append(file)
    best: list[DataFile] | None = None
    for found in classes.values():
        group = _bounded(found, limits.rows_final)
        rows = sum(file.record_count for file in group)
        full = len(group) >= limits.merge_factor or rows >= limits.rows_final
        if len(group) > 1 and full and (best is None or len(group) > len(best)):
            best = group
    return best


def _bounded(files: Sequence[DataFile], rows_max: int) -> list[DataFile]:
    group: list[DataFile] = []
    rows = 0
    for file in files:
        if rows >= rows_max:
            break
        group.append(file)
        rows += file.record_count
    return group


def _read(table: Table, files: Sequence[DataFile]) -> pa.Table:
    def part(file: DataFile) -> pa.Table:
        with table.io.new_input(file.file_path).open() as source:
            return pq.read_table(source)

    with ThreadPoolExecutor(READERS) as readers:
        parts = list(readers.map(part, files))
    # Files of before a column was added have null there.
    return pa.concat_tables(parts, promote_options="default")

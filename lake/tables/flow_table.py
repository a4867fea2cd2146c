"""An Iceberg table that one flow at a time writes, each time in one commit with what it says of it.

A commit is made on top of the loaded head, under an epoch: a run that died is simply not there, and
one that was overtaken is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from lake.contracts.contract import load
from lake.steps import Steps
from lake.tables.catalog import ensure_table, metadata_location
from lake.tables.commit import Staging, faults_of
from lake.tables.data_file import sorted_rows, time_column_of, write_data_files
from lake.tables.lake_marks import note_mark
from lake.tables.names import CLOSED, EPOCH, NAMESPACE, SNAPSHOT, THROUGH


class FlowTable:
    """One run's handle on the table of a dataset."""

    def __init__(
        self, dataset: str, catalog: SqlCatalog, *, epoch: int, steps: Steps | None = None
    ) -> None:
        self._dataset = dataset
        self._catalog = catalog
        self._epoch = epoch
        self._steps = steps or Steps()
        with faults_of(dataset):
            self.table: Table = ensure_table(catalog, dataset)

    def refresh(self) -> None:
        """Load the newest metadata, if the catalog names other than what is loaded.

        Raises Unavailable, or Damaged when its file is gone.
        """
        with faults_of(self._dataset):
            if metadata_location(self._catalog, self._dataset) != self.table.metadata_location:
                self.table = self._catalog.load_table((NAMESPACE, self._dataset))

    def _replace(
        self,
        old: Sequence[DataFile],
        parts: Sequence[pa.Table],
        through: Mapping[int, int],
        closed_us: int,
        properties: Mapping[str, str],
    ) -> int:
        """Put the rows of these parts for files, maybe none, in one commit; return its snapshot.

        through, closed_us: the marks that the snapshot is noted with. The caller holds faults_of;
        raises Fenced, DiskFull, Unavailable when the head has moved or the outcome is unknown.
        """
        dataset = self._dataset
        rows = sorted_rows(pa.concat_tables(parts), list(load(dataset).sort))
        new = write_data_files(self.table, rows, time_column=time_column_of(self.table))
        self._steps.at("lake.parquet")
        transaction = Staging(self.table)
        evidence = {**marks_said(through, closed_us), EPOCH: str(self._epoch)}
        update = transaction.update_snapshot(snapshot_properties=evidence)
        with update.overwrite() if old else update.merge_append() as commit:
            for file in old:
                commit.delete_data_file(file)
            for file in new:
                commit.append_data_file(file)
            snapshot_id = int(commit.snapshot_id)
        note_mark(self._catalog, dataset, snapshot_id, through, closed_us)
        self._steps.at("lake.manifest")
        transaction.set_properties({**properties, SNAPSHOT: str(snapshot_id)})
        self._show(transaction)
        self._steps.at("lake.committed")
        return snapshot_id

    def _show(self, transaction: Staging) -> None:
        """Swap the catalog's pointer to what was staged."""
        self._steps.at("lake.pointer")
        self.table = transaction.commit_transaction()


def marks_said(through: Mapping[int, int], closed_us: int) -> dict[str, str]:
    """Return marks as a table or a snapshot keeps them."""
    frames = {f"{THROUGH}{shard}": str(frame) for shard, frame in through.items()}
    return {**frames, CLOSED: str(closed_us)}

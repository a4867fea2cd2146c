"""The Iceberg table of labels: rows are only added, and a mark says of which bars."""

from __future__ import annotations

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

from lake.bars.bars_table import Marks
from lake.steps import Steps
from lake.tables.commit import Staging, faults_of
from lake.tables.flow_table import FlowTable
from lake.tables.lake_table import holdings_of

DATASET = "labels_market"
BARS_SNAPSHOT = "ticklake.bars"


class LabelsTable(FlowTable):
    """One run's handle on the table."""

    def __init__(self, catalog: SqlCatalog, *, epoch: int, steps: Steps | None = None) -> None:
        super().__init__(DATASET, catalog, epoch=epoch, steps=steps)

    @property
    def bars_snapshot(self) -> int | None:
        """Return the bars whose labels are all there; None at first, or after a rollback."""
        kept = self.table.properties.get(BARS_SNAPSHOT)
        return None if kept is None or holdings_of(self.table).rolled_back else int(kept)

    def append(self, rows: pa.Table, marks: Marks) -> int:
        """Add rows, at least one, in one commit; return its snapshot.

        Raises Fenced when another run has begun; DiskFull; Unavailable when the head has moved or
        the outcome is unknown: begin again, and add what lacks then.
        """
        with faults_of(DATASET):
            return self._replace([], [rows], marks.through, marks.closed_us, {})

    def move(self, bars_snapshot: int, marks: Marks) -> None:
        """Say that all rows that these bars make are there. Raises as append does."""
        with faults_of(DATASET):
            transaction = Staging(self.table)
            transaction.set_properties({**marks.properties(), BARS_SNAPSHOT: str(bars_snapshot)})
            self._show(transaction)

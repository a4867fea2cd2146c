"""The Iceberg table of bars: its marks, and changes to it in one commit with them.

`ticklake.through.<shard>` and `ticklake.closed` say which trades are in and before which time every
bucket is closed. They are written in the commit that changes the bars, on top of the loaded head,
under an epoch: a run that died is simply not there, and one that was overtaken is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from lake.bars.audit import audit
from lake.bars.changes import Changes
from lake.bars.kernel import DATASET, DAY_US, KEY
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.errors import Damaged
from lake.in_memory import ARROW_ROWS, in_memory
from lake.steps import Steps
from lake.tables.commit import faults_of
from lake.tables.flow_table import FlowTable, marks_said
from lake.tables.lake_table import holdings_of
from lake.tables.names import CLOSED


@dataclass(frozen=True, slots=True)
class Marks:
    """What the bars are made of: shard -> last frame, inclusive; closed before (µs, exclusive)."""

    through: Mapping[int, int]
    closed_us: int

    def properties(self) -> dict[str, str]:
        """Return them as a table or a snapshot keeps them."""
        return marks_said(self.through, self.closed_us)


class BarsTable(FlowTable):
    """One run's handle on the table."""

    def __init__(self, catalog: SqlCatalog, *, epoch: int, steps: Steps | None = None) -> None:
        super().__init__(DATASET, catalog, epoch=epoch, steps=steps)

    def marks(self) -> Marks:
        """Return the marks of the loaded metadata; Damaged where a rollback hides them."""
        return marks_of(self.table)

    def publish(self, change: Changes, marks: Marks, *, audited: bool = False) -> int:
        """Audit the new bars, write them unseen, then show them in one commit; return its snapshot.

        audited: somebody has looked at them already, and let them pass.
        Files that hold a bar to drop are written again without it. Raises Damaged when the audit
        fails; Fenced when another run has begun; DiskFull; Unavailable when the head has moved or
        the outcome is unknown: refresh and begin again.
        """
        if not audited:
            audit(DATASET, change.put)
        with faults_of(DATASET):
            old, kept = self._rewritten(change.drop)
            return self._replace(
                old, [change.put, *kept], marks.through, marks.closed_us, marks.properties()
            )

    def _rewritten(self, drop: pa.Table) -> tuple[list[DataFile], list[pa.Table]]:
        """Return the files with a bar to drop, and the rows of each that stay."""
        files: list[DataFile] = []
        kept: list[pa.Table] = []
        found = 0
        for day in sorted({us // DAY_US for us in drop["event_time"].cast(pa.int64()).to_pylist()}):
            for file in _files_of(self.table, day):
                with self.table.io.new_input(file.file_path).open() as source:
                    rows = pq.read_table(source).select(load(DATASET).names)
                rest = _without(rows.cast(arrow_schema(load(DATASET))), drop)
                if rest.num_rows < rows.num_rows:
                    found += rows.num_rows - rest.num_rows
                    files.append(file)
                    kept.append(rest)
        assert found == drop.num_rows, "a bar to drop is in no file, or in two"
        return files, kept


def marks_of(table: Table) -> Marks:
    """Return the marks of this metadata of the table; Damaged where a rollback hides them."""
    held = holdings_of(table)
    source = table.properties
    if held.rolled_back:
        head = table.current_snapshot()
        source = dict(head.summary.additional_properties) if head and head.summary else {}
        if head is not None and CLOSED not in source:
            raise Damaged(
                f"lake.{DATASET}",
                f"rolled back to snapshot {head.snapshot_id}, which says no {CLOSED}",
                "roll it forward again",
            )
    return Marks(held.through, int(source.get(CLOSED, 0)))


def _files_of(table: Table, day: int) -> list[DataFile]:
    """Return the files of a day (since the epoch)."""
    first, after = (f"{_iso(each)}T00:00:00+00:00" for each in (day, day + 1))
    where = f"event_time >= '{first}' and event_time < '{after}'"
    return [task.file for task in table.scan(row_filter=where).plan_files()]


def _iso(day: int) -> str:
    return str(pa.scalar(day, pa.int32()).cast(pa.date32()))


def _without(rows: pa.Table, drop: pa.Table) -> pa.Table:
    keys = ", ".join(f'"{name}"' for name in KEY)
    with in_memory() as connection:
        connection.register("rows_of_file", rows)
        connection.register("keys_to_drop", drop)
        rest = connection.execute(f"FROM rows_of_file ANTI JOIN keys_to_drop USING ({keys})")
        return rest.to_arrow_table(ARROW_ROWS).cast(rows.schema)

"""Put files of a table for others, or for none, in one commit that leaves its marks as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from lake.tables.commit import Staging
from lake.tables.lake_marks import note_mark
from lake.tables.lake_table import holdings_of
from lake.tables.names import CLOSED, EPOCH, SNAPSHOT, THROUGH

OPERATION = "ticklake.operation"
NO_PROPERTIES: Mapping[str, str] = MappingProxyType({})


def swap_files(
    catalog: SqlCatalog,
    dataset: str,
    table: Table,
    old: Sequence[DataFile],
    new: Sequence[DataFile],
    *,
    epoch: int,
    operation: str,
    before_commit: Callable[[], None],
    properties: Mapping[str, str] = NO_PROPERTIES,
) -> Table:
    """Commit on top of the loaded head and nothing else; return the table of after.

    The table must not be rolled back. properties: set in the same commit. Raises one of
    COMMIT_FAULTS; ValidationException when an old file is not there any more.
    """
    held = holdings_of(table)
    marks = {f"{THROUGH}{shard}": str(frame) for shard, frame in held.through.items()}
    marks |= {key: table.properties[key] for key in (CLOSED,) if key in table.properties}
    evidence = {**marks, EPOCH: str(epoch), OPERATION: operation, **properties}
    transaction = Staging(table)
    with transaction.update_snapshot(snapshot_properties=evidence).overwrite() as change:
        for file in old:
            change.delete_data_file(file)
        for file in new:
            change.append_data_file(file)
        snapshot_id = change.snapshot_id
    closed_us = int(marks[CLOSED]) if CLOSED in marks else None
    note_mark(catalog, dataset, snapshot_id, held.through, closed_us)
    transaction.set_properties({SNAPSHOT: str(snapshot_id), **properties})
    before_commit()
    return transaction.commit_transaction()

"""How large the lake's tables are, from their metadata alone."""

from __future__ import annotations

from dataclasses import dataclass

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError

from lake.tables.commit import COMMIT_FAULTS, translated
from lake.tables.names import NAMESPACE


@dataclass(frozen=True, slots=True)
class TableSize:
    """Data files, their bytes and rows in the head snapshot; snapshots that are kept."""

    files: int
    bytes: int
    rows: int
    snapshots: int


def table_size(catalog: SqlCatalog, dataset: str) -> TableSize | None:
    """Return a table's size; None before the table is made. Raises Unavailable or Damaged."""
    try:
        metadata = catalog.load_table((NAMESPACE, dataset)).metadata
    except NoSuchTableError:
        return None
    except COMMIT_FAULTS as error:
        raise translated(error, dataset) from error
    head = metadata.snapshot_by_id(metadata.current_snapshot_id or 0)
    said = head.summary.additional_properties if head is not None and head.summary else {}
    return TableSize(
        int(said.get("total-data-files", 0)),
        int(said.get("total-files-size", 0)),
        int(said.get("total-records", 0)),
        len(metadata.snapshots),
    )

"""Metadata files that a restore of the catalog may name again.

The catalog comes back to the pointer of a moment, so the file that was current then must be there.
Left alone, a commit deletes the file twenty versions before it. Where backups are on it deletes
none, and upkeep deletes them once their time as the current file is over for longer than a restore
can reach.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from contextlib import suppress

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table.update import SetPropertiesUpdate

from lake.tables.catalog import ensure_table
from lake.tables.commit import commit_on_head, faults_of
from lake.tables.names import NAMESPACE
from lake.tables.warehouse_io import StoredFile, WarehouseIO

DELETE_AFTER_COMMIT = "write.metadata.delete-after-commit.enabled"
SUFFIX = ".metadata.json"


def keep_metadata(catalog: SqlCatalog, dataset: str, *, keep: bool) -> None:
    """Let commits delete metadata files, or not; commits only where that changes.

    Raises Fenced, or Unavailable when the race was lost: try again.
    """
    with faults_of(dataset):
        table = ensure_table(catalog, dataset)
        wanted = "false" if keep else "true"
        if table.properties.get(DELETE_AFTER_COMMIT) != wanted:
            commit_on_head(table, SetPropertiesUpdate(updates={DELETE_AFTER_COMMIT: wanted}))


def remove_old_metadata(catalog: SqlCatalog, dataset: str, before_us: int) -> int:
    """Remove metadata files that were superseded before a time and that the table does not name.

    before_us: UTC microseconds, exclusive. Returns how many are gone. Raises Unavailable.
    """
    with faults_of(dataset):
        table = catalog.load_table((NAMESPACE, dataset))
        assert isinstance(table.io, WarehouseIO)
        listed = table.io.listed(f"{table.location()}/metadata")
        found = [file for file in listed if file.location.endswith(SUFFIX)]
        named = {table.metadata_location}
        named.update(entry.metadata_file for entry in table.metadata.metadata_log)
        gone = [path for path in superseded(found, before_us) if path not in named]
        for path in gone:
            with suppress(FileNotFoundError):  # a commit of before had deleted it
                table.io.delete(path)
    return len(gone)


def superseded(files: Iterable[StoredFile], before_us: int) -> list[str]:
    """Return the files after which another one came before a time; the newest never is."""
    in_order = sorted(files, key=lambda file: (file.changed_us, file.location))
    return [
        file.location
        for file, following in itertools.pairwise(in_order)
        if following.changed_us < before_us
    ]

"""Which files on disk belong to a table, and why: the account that upkeep and audits go by."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pyiceberg.table import Table

from lake.tables.warehouse_io import WarehouseIO


def metadata_files(table: Table, snapshot_ids: Iterable[int]) -> set[str]:
    """Return manifest lists and manifests of these snapshots."""
    found: set[str] = set()
    for snapshot_id in snapshot_ids:
        snapshot = table.metadata.snapshot_by_id(snapshot_id)
        if snapshot is None:
            continue
        found.add(snapshot.manifest_list)
        found.update(manifest.manifest_path for manifest in snapshot.manifests(table.io))
    return found


def data_files(table: Table) -> set[str]:
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


def files_needed(table: Table) -> set[str]:
    """Return every file that some kept snapshot, or the table itself, needs."""
    ids = [snapshot.snapshot_id for snapshot in table.metadata.snapshots]
    named = {entry.metadata_file for entry in table.metadata.metadata_log}
    return metadata_files(table, ids) | data_files(table) | named | {table.metadata_location}


def unaccounted(table: Table, booked: Collection[str]) -> list[str]:
    """Return files below the table's folder that nothing needs and no book waits to remove.

    booked: the files that the book of removals names. A commit in flight has some for a moment.
    """
    assert isinstance(table.io, WarehouseIO)
    there = {file.location for file in table.io.listed(table.location())}
    return sorted(there - files_needed(table) - set(booked))

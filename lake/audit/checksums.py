"""Checksums of the lake's files: each is read whole and compared with what it first was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import psycopg
from pyiceberg.table import Table

from lake.archive.book import ArchiveFile
from lake.archive.place import ArchivePlace, sha256_of
from lake.tables.account import data_files, metadata_files
from lake.tables.warehouse_io import WarehouseIO

UNREADABLE = (FileNotFoundError, ValueError, EOFError, KeyError, IndexError, AssertionError)
"""What reading a manifest meets when it is gone or its bytes are not what was written."""


@dataclass
class Checked:
    """What was read of a table: files, bytes, one digest over all, and the faults."""

    files: int = 0
    bytes: int = 0
    faults: list[str] = field(default_factory=list)
    sums: dict[str, str] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Return one digest of all paths and their checksums, in order of paths."""
        whole = hashlib.sha256()
        for path in sorted(self.sums):
            whole.update(f"{path} {self.sums[path]}\n".encode())
        return whole.hexdigest()

    def add(self, path: str, sha256: str, size: int) -> None:
        """Count a file."""
        self.files += 1
        self.bytes += size
        self.sums[path] = sha256


def needed_files(table: Table) -> set[str]:
    """Return data files, manifests and their lists of every kept snapshot.

    The table's own metadata files come and go with each commit, and are not among them.
    """
    ids = [snapshot.snapshot_id for snapshot in table.metadata.snapshots]
    return data_files(table) | metadata_files(table, ids)


def check_table(
    connection: psycopg.Connection, dataset: str, table: Table, now: datetime
) -> Checked:
    """Read every file that a table needs and compare; new ones are entered as they are now."""
    assert isinstance(table.io, WarehouseIO)
    known = _known(connection, dataset)
    found = Checked()
    wanted = set(known)
    try:
        wanted = needed_files(table)
    except UNREADABLE as error:
        # What was known of the table is compared all the same, and says which file it is.
        said = str(error) or type(error).__name__
        found.faults.append(f"{dataset}: a manifest can't be read: {said}")
    new: list[tuple[str, int, str]] = []
    for path in sorted(wanted):
        try:
            sha256, size = sha256_of(table.io, path)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not _still_needs(table, path):
                continue
            said = "missing" if isinstance(error, FileNotFoundError) else str(error)
            found.faults.append(f"{dataset}: {path}: {said}")
            continue
        found.add(path, sha256, size)
        if path not in known:
            new.append((path, size, sha256))
        elif known[path] != (size, sha256):
            found.faults.append(f"{dataset}: {path}: its bytes have changed since it was written")
    _enter(connection, dataset, new, now)
    _forget(connection, known.keys() - wanted)
    return found


def check_archive(files: Iterable[ArchiveFile], place: ArchivePlace) -> Checked:
    """Read every file of the archive and compare it with what was written."""
    found = Checked()
    for file in files:
        try:
            sha256, size = place.sha256(file.path)
        except OSError as error:
            found.faults.append(f"archive {file.dataset}: {file.path}: {error}")
            continue
        found.add(file.path, sha256, size)
        if (sha256, size) != (file.sha256, file.bytes):
            found.faults.append(f"archive {file.dataset}: {file.path}: its bytes have changed")
    return found


def _still_needs(table: Table, path: str) -> bool:
    """Tell whether a file that is gone should be there: ingest may have let it go meanwhile."""
    try:
        return path in needed_files(table.refresh())
    except UNREADABLE:
        return True


def _known(connection: psycopg.Connection, dataset: str) -> Mapping[str, tuple[int, str]]:
    rows = connection.execute(
        "SELECT path, bytes, sha256 FROM market.audit_files WHERE dataset = %s", (dataset,)
    )
    return {path: (size, sha256) for path, size, sha256 in rows}


def _enter(
    connection: psycopg.Connection,
    dataset: str,
    new: Iterable[tuple[str, int, str]],
    now: datetime,
) -> None:
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO market.audit_files VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [(path, dataset, size, sha256, now) for path, size, sha256 in new],
        )


def _forget(connection: psycopg.Connection, gone: Iterable[str]) -> None:
    connection.execute("DELETE FROM market.audit_files WHERE path = ANY(%s)", (sorted(gone),))

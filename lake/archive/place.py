"""Where the archive lies, and its files: written durably, read back before anything rests on them.

A folder, or a folder of a bucket of the store that the home's lake lies in. A cheaper class of
storage is the bucket's own affair (a lifecycle rule), as is object lock.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.errors import Damaged
from lake.state import read_state
from lake.tables.data_file import ROW_GROUP_ROWS, parquet_options
from lake.tables.warehouse_io import WarehouseIO
from lake.warehouse import Folder, Warehouse, warehouse_at

FOLDER = "archive"
"""The folder of a home that is the archive where no setting names another."""

CHUNK_BYTES = 1 << 22


class ArchivePlace:
    """The archive's files."""

    def __init__(self, place: Warehouse) -> None:
        self.place = place
        self._io = WarehouseIO(place.iceberg_properties())

    def path(self, name: str) -> str:
        """Return the location of a file by its name."""
        return f"{self.place.location}/{name}"

    def write(self, path: str, rows: pa.Table) -> None:
        """Write rows as one Parquet file, durable when this returns; replaces one of a dead run."""
        options = parquet_options(rows.schema, compact=True, rows=rows.num_rows)
        with (
            self._io.new_output(path).create(overwrite=True) as sink,
            pq.ParquetWriter(sink, rows.schema, **options) as writer,
        ):
            writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)

    def read(self, dataset: str, path: str) -> pa.Table:
        """Read a file's rows; Damaged when it can't be."""
        try:
            with self._io.new_input(path).open() as source:
                return pq.read_table(source).cast(arrow_schema(load(dataset)))
        except (OSError, pa.ArrowInvalid) as error:
            raise Damaged(path, str(error).splitlines()[0], "restore the file") from error

    def sha256(self, path: str) -> tuple[str, int]:
        """Return the digest and the size of a file's bytes; FileNotFoundError when it is gone."""
        return sha256_of(self._io, path)

    def delete(self, path: str) -> None:
        """Delete a file; one that is gone is no fault."""
        with suppress(FileNotFoundError):
            self._io.delete(path)


def sha256_of(io: WarehouseIO, path: str) -> tuple[str, int]:
    """Return the digest and the size of a file's bytes; FileNotFoundError when it is gone."""
    digest = hashlib.sha256()
    size = 0
    with io.new_input(path).open() as source:
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def archive_of(home: Path, archive: str) -> ArchivePlace:
    """Return the archive of a home; archive: the setting, "" for the home's own folder."""
    if not archive:
        return ArchivePlace(Folder(home / FOLDER))
    return ArchivePlace(warehouse_at({**read_state(home).get("s3", {}), "location": archive}))

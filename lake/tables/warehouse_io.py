"""Reach the warehouse's files, and write them so that a power cut can't take them back.

The catalog's pointer swap is durable in PostgreSQL, so every file that it leads to must be durable
before it. Files of a local folder are synced as they are closed, and so is the folder that names
them. An object store is durable when its answer comes: small files are one request.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedWriter, FileIO
from pathlib import Path

from pyarrow.fs import (
    AwsStandardS3RetryStrategy,
    FileSelector,
    FileSystem,
    FileType,
    S3FileSystem,
)
from pyiceberg.io import (
    S3_ACCESS_KEY_ID,
    S3_ENDPOINT,
    S3_REGION,
    S3_SECRET_ACCESS_KEY,
    OutputStream,
)
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from lake.errors import BadInput, Unavailable
from lake.warehouse import CONNECT_S_MAX, REQUEST_S_MAX, S3_CA, Bucket, Warehouse

BUFFER_BYTES = 1 << 20
IMPLEMENTATION = f"{__name__}.WarehouseIO"
"""What the catalog's property `py-io-impl` names."""

REQUEST_TRIES_MAX = 5
STORES_MAX = 16
"""Clients of stores that are kept, with their open connections."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of the warehouse: its location, when it last changed (µs since the epoch), its size.

    stamp: what changes when the file does.
    """

    location: str
    changed_us: int
    bytes: int
    stamp: str


class SyncedStream(BufferedWriter):
    """A new local file that is durable once close() has returned."""

    def __init__(self, path: Path) -> None:
        _make_folder(path.parent)
        self.path = path
        super().__init__(FileIO(path, "wb"), BUFFER_BYTES)

    def close(self) -> None:
        """Write what is left, sync file and folder; raises OSError when the disk refuses."""
        if self.closed:
            return
        try:
            self.flush()
            self.sync()
        finally:
            super().close()

    def sync(self) -> None:
        """Make the file and its name durable."""
        os.fsync(self.fileno())
        sync_folder(self.path.parent)


class SyncedFile(PyArrowFile):
    """A local file of the warehouse."""

    stream: type[SyncedStream] = SyncedStream

    def create(self, overwrite: bool = False) -> OutputStream:
        """Open the file for writing; raises FileExistsError unless overwrite."""
        path = Path(self._path)
        if not overwrite and path.exists():
            raise FileExistsError(f"Cannot create file, already exists: {self.location}")
        return self.stream(path)


class WarehouseIO(PyArrowFileIO):
    """pyiceberg's access to files, with synced local writes."""

    file: type[SyncedFile] = SyncedFile

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        super().__init__(properties=properties)

    def new_output(self, location: str) -> PyArrowFile:
        """Return the file at a location, to be written."""
        scheme, netloc, path = self.parse_location(location, self.properties)
        if scheme != "file":
            return super().new_output(location)
        return self.file(location=location, path=path, fs=self.fs_by_scheme(scheme, netloc))

    def listed(self, location: str) -> Iterator[StoredFile]:
        """Yield every file at or below a location; none when it is not there. Raises OSError."""
        scheme, netloc, path = self.parse_location(location, self.properties)
        files = self.fs_by_scheme(scheme, netloc)
        before = location.removesuffix(path)
        selector = FileSelector(path, recursive=True, allow_not_found=True)
        for found in files.get_file_info(selector):
            if found.type == FileType.File:
                place = f"{before}{found.path}"
                changed_us = found.mtime_ns // 1000
                stamp = f"{found.size}/{found.mtime_ns}"
                if scheme == "file":
                    stamp = local_stamp(found.path)
                yield StoredFile(place, changed_us, found.size, stamp)

    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        keys = (S3_ENDPOINT, S3_REGION, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY)
        return _store(*(self.properties[key] for key in keys), self.properties.get(S3_CA))


@lru_cache(STORES_MAX)
def _store(
    endpoint: str, region: str, access_key: str, secret_key: str, ca: str | None
) -> S3FileSystem:
    """Return the client of a store: one for all tables and threads, so that it stays connected."""
    return S3FileSystem(
        endpoint_override=endpoint,
        region=region,
        access_key=access_key,
        secret_key=secret_key,
        connect_timeout=CONNECT_S_MAX,
        request_timeout=REQUEST_S_MAX,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=REQUEST_TRIES_MAX),
        allow_delayed_open=True,
        tls_ca_file_path=ca,
    )


def ready(warehouse: Warehouse) -> None:
    """Find out now, not at the first commit, whether the warehouse can be written to.

    Raises OSError for a folder, BadInput for a bucket that is not there or not ours, Unavailable
    for a store that does not answer.
    """
    if isinstance(warehouse, Bucket):
        _bucket_ready(warehouse)
        return
    warehouse.path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=warehouse.path):
        pass


def _bucket_ready(warehouse: Bucket) -> None:
    files = WarehouseIO(warehouse.iceberg_properties()).fs_by_scheme("s3", warehouse.name)
    thing = f"bucket {warehouse.name} at {warehouse.endpoint}"
    try:
        found = files.get_file_info(warehouse.name)
    except OSError as error:
        if "ACCESS_DENIED" in str(error):
            fault = "the store refuses our keys"
            raise BadInput(thing, fault, "see `s3` in run/state.json") from error
        raise Unavailable(thing, "the store does not answer", "see: ticklake status") from error
    if found.type == FileType.NotFound:
        raise BadInput(thing, "is not there", "make it: ticklake up --profile stack")


def local_stamp(path: str) -> str:
    """Return what changes when a local file does; "" when it is gone."""
    try:
        stat = os.stat(path)
    except OSError:
        return ""
    return f"{stat.st_ino}/{stat.st_size}/{stat.st_mtime_ns}/{stat.st_ctime_ns}"


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)

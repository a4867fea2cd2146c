"""Write the warehouse's files so that a power cut can't take them back.

The catalog's pointer swap is durable in PostgreSQL, so every file that it leads to must be durable
before it. Files of a local folder are synced as they are closed, and so is the folder that names
them; an object store is durable when its answer comes, and is left to pyiceberg.
"""

from __future__ import annotations

import os
from io import BufferedWriter, FileIO
from pathlib import Path

from pyiceberg.io import OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

BUFFER_BYTES = 1 << 20
IMPLEMENTATION = f"{__name__}.WarehouseIO"
"""What the catalog's property `py-io-impl` names."""


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

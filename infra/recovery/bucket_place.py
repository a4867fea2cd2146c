"""Backups in an S3 bucket: base backups by pg_basebackup, the log by way of a folder of the home.

The server archives to the folder, by its own means, and `ship` brings the segments on: it needs no
program of S3's beside the server, and a store that is away never holds the server up. A schedule
ships once a minute; what the store has not got is in the folder.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem, copy_files

from infra.recovery.folder_place import (
    ARCHIVE,
    NOTE,
    base_backup,
    basic_archive,
    copy_command,
    unpack,
)
from infra.recovery.place import Backup, Source, name_of
from lake.clock import Clock, utc_from_us
from lake.errors import Unavailable
from lake.warehouse import S3_SCHEME

LOCAL = LocalFileSystem()
SEGMENT_CHARS = 24
"""A segment's name: timeline, and where it lies in the log."""


@dataclass(frozen=True)
class BucketPlace:
    """A folder of a bucket. spool: where the server leaves the log until it is shipped."""

    location: str
    store: FileSystem
    spool: Path

    @property
    def root(self) -> str:
        """Return the place's path in the store."""
        return self.location.removeprefix(S3_SCHEME).rstrip("/")

    def settings(self) -> Mapping[str, str]:
        """Make the folder; return the server's settings."""
        return basic_archive(self.spool)

    def ship(self) -> str | None:
        """Bring archived files to the bucket, oldest first; return the last segment's name."""
        last = None
        for path in sorted(self.spool.iterdir()):
            if path.name.startswith("archtemp"):
                continue  # the server is writing it
            with store_faults():
                copy_files(
                    str(path),
                    f"{self.root}/wal/{path.name}",
                    source_filesystem=LOCAL,
                    destination_filesystem=self.store,
                )
            path.unlink()
            last = path.name if len(path.name) == SEGMENT_CHARS else last
        return last

    def restore_command(self, beside: Path) -> str:
        """Return a command that copies from what was fetched, the spool, the last server's own."""
        return copy_command(self._fetched, self.spool, beside)

    def take(self, server: Source, clock: Clock) -> Backup:
        """Take a base backup; its note comes last."""
        began_at = utc_from_us(clock.now_us())
        name = name_of(began_at)
        with tempfile.TemporaryDirectory(prefix="base-", dir=self.spool.parent) as folder:
            base_backup(server, Path(folder) / name, name)
            backup = Backup(name, began_at, utc_from_us(clock.now_us()))
            with store_faults():
                copy_files(
                    str(Path(folder) / name),
                    f"{self.root}/base/{name}",
                    source_filesystem=LOCAL,
                    destination_filesystem=self.store,
                )
                with self.store.open_output_stream(f"{self.root}/base/{name}/{NOTE}") as note:
                    note.write(json.dumps(asdict(backup), default=datetime.isoformat).encode())
        return backup

    def backups(self) -> list[Backup]:
        """Return the completed ones, oldest first."""
        found = []
        for path in sorted(self._files("base")):
            if path.endswith(f"/{NOTE}"):
                with store_faults(), self.store.open_input_stream(path) as note:
                    told = json.loads(note.read())
                times = (datetime.fromisoformat(told[key]) for key in ("began_at", "ended_at"))
                found.append(Backup(told["name"], *times))
        return found

    def fetch(self, backup: Backup, server: Source) -> None:
        """Fetch a base backup and the log since; unpack it."""
        shutil.rmtree(self._fetched, ignore_errors=True)
        self._fetched.mkdir()
        server.account().own(self._fetched)
        with store_faults(), tempfile.TemporaryDirectory(dir=self.spool.parent) as folder:
            archive = Path(folder) / ARCHIVE
            self._download(f"{self.root}/base/{backup.name}/{ARCHIVE}", archive)
            for path in self._log_since(backup):
                self._download(path, self._fetched / Path(path).name)
                server.account().own(self._fetched / Path(path).name)
            unpack(archive, backup.name, server)

    def forget(self, gone: list[Backup], oldest_kept: Backup, server: Source) -> None:
        """Delete base backups, and the log before the oldest that stays."""
        with store_faults():
            for backup in gone:
                self.store.delete_dir(f"{self.root}/base/{backup.name}")
            kept = set(self._log_since(oldest_kept))
            for path in self._files("wal"):
                if path not in kept and not path.endswith(".history"):
                    self.store.delete_file(path)

    @property
    def _fetched(self) -> Path:
        return self.spool.parent / "fetched"

    def _download(self, path: str, to: Path) -> None:
        with self.store.open_input_stream(path) as source, to.open("wb") as output:
            shutil.copyfileobj(source, output)

    def _log_since(self, backup: Backup) -> list[str]:
        """Return the log's files from a backup's first on, and every timeline's history."""
        files = sorted(self._files("wal"))
        first = ""
        for path in files:
            if path.endswith(".backup"):
                with self.store.open_input_stream(path) as mark:
                    if f"LABEL: {backup.name}\n".encode() in mark.read():
                        first = Path(path).name[8:SEGMENT_CHARS]
        return [
            path
            for path in files
            if path.endswith(".history") or Path(path).name[8:SEGMENT_CHARS] >= first
        ]

    def _files(self, part: str) -> Iterator[str]:
        selector = FileSelector(f"{self.root}/{part}", recursive=True, allow_not_found=True)
        with store_faults():
            found = self.store.get_file_info(selector)
        return (each.path for each in found if each.type == FileType.File)


@contextmanager
def store_faults() -> Iterator[None]:
    """Raise what the store may say in our words."""
    try:
        yield
    except OSError as error:
        said = str(error).strip().splitlines()[0]
        raise Unavailable("store of backups", said, "see: ticklake status") from error

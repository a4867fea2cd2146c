"""Backups in a folder: pg_basebackup for the base, PostgreSQL's own basic_archive for the log."""

from __future__ import annotations

import json
import shlex
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from infra.recovery.place import ARCHIVING, Backup, Source, name_of
from infra.servers.account import account_for
from lake.clock import Clock, utc_from_us
from lake.errors import BadInput, Damaged

BACKUP_S_MAX = 6 * 3_600.0
CLEAN_S_MAX = 600.0
ARCHIVE = "base.tar.gz"
NOTE = "backup.json"
"""Written last: a folder without it is no backup."""


@dataclass(frozen=True)
class FolderPlace:
    """A folder that the server's account may write to, better on another disk."""

    folder: Path

    @property
    def log(self) -> Path:
        """Return the folder of the archived log."""
        return self.folder / "wal"

    def settings(self) -> Mapping[str, str]:
        """Make the folders; return the server's settings."""
        found = basic_archive(self.log)
        (self.folder / "base").mkdir(exist_ok=True)
        return found

    def ship(self) -> str | None:
        """Do nothing: the server archives to the very place."""
        return None

    def restore_command(self, beside: Path) -> str:
        """Return a command that copies from the archive, else from the last server's folder."""
        return copy_command(self.log, beside)

    def take(self, server: Source, clock: Clock) -> Backup:
        """Take a base backup, compressed."""
        began_at = utc_from_us(clock.now_us())
        name = name_of(began_at)
        final, new = self.folder / "base" / name, self.folder / "base" / f"{name}.new"
        shutil.rmtree(new, ignore_errors=True)
        try:
            base_backup(server, new, name)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        backup = Backup(name, began_at, utc_from_us(clock.now_us()))
        (new / NOTE).write_text(json.dumps(asdict(backup), default=datetime.isoformat))
        new.rename(final)
        return backup

    def backups(self) -> list[Backup]:
        """Return the completed ones, oldest first."""
        found = []
        for note in sorted((self.folder / "base").glob(f"*/{NOTE}")):
            if note.parent.suffix != ".new":
                told = json.loads(note.read_text())
                times = (datetime.fromisoformat(told[key]) for key in ("began_at", "ended_at"))
                found.append(Backup(told["name"], *times))
        return found

    def fetch(self, backup: Backup, server: Source) -> None:
        """Unpack a base backup."""
        unpack(self.folder / "base" / backup.name / ARCHIVE, backup.name, server)

    def forget(self, gone: list[Backup], oldest_kept: Backup, server: Source) -> None:
        """Delete base backups, and the log before the oldest that stays."""
        for backup in gone:
            shutil.rmtree(self.folder / "base" / backup.name)
        label = f"LABEL: {oldest_kept.name}\n"
        marks = [each for each in self.log.glob("*.backup") if label in each.read_text()]
        for mark in marks[:1]:
            words = ("-b", str(self.log), mark.name)
            server.run("pg_archivecleanup", *words, seconds_max=CLEAN_S_MAX)


def base_backup(server: Source, folder: Path, label: str) -> None:
    """Take a base backup of a running server into a new folder; raises Unavailable."""
    server.run(
        "pg_basebackup",
        *(*server.reached_by(), "-w"),
        *("-D", str(folder), "-F", "tar", "-z", "-X", "none", "-c", "fast", "-l", label),
        seconds_max=BACKUP_S_MAX,
    )


def unpack(archive: Path, name: str, server: Source) -> None:
    """Make a server's data folder anew from a base backup; its files belong to its account."""
    account = server.account()
    server.data.mkdir(mode=0o700)
    try:
        with tarfile.open(archive) as opened:
            opened.extractall(server.data, filter="tar")
    except (OSError, tarfile.TarError) as error:
        raise Damaged(
            f"backup {name}", f"can't be unpacked ({error})", "restore an earlier one"
        ) from error
    for path in (server.data, *server.data.rglob("*")):
        account.own(path)


def copy_command(*folders: Path) -> str:
    """Return PostgreSQL's command that copies a segment from the first of these that has it."""
    return " 2>/dev/null || ".join(f"cp {_escaped(folder / '%f')} %p" for folder in folders)


def basic_archive(folder: Path) -> dict[str, str]:
    """Make a folder of the server's account; return the settings that archive the log there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        account_for(folder / "file").own(folder)
    except OSError as error:
        raise BadInput(
            str(folder), str(error.strerror), "choose another TICKLAKE_BACKUP"
        ) from error
    return archived_to(folder)


def archived_to(folder: Path) -> dict[str, str]:
    """Return the settings of a server that archives its log to this folder, which is there."""
    return {
        **ARCHIVING,
        "archive_library": "basic_archive",
        "basic_archive.archive_directory": str(folder),
    }


def _escaped(path: Path) -> str:
    """Return a path for a shell command of PostgreSQL's; only the last %f is its to replace."""
    folder = str(path.parent).replace("%", "%%")
    return f"{shlex.quote(folder)}/{path.name}"

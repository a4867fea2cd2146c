"""What the stack profile runs, and where it lies: one folder, nothing outside of it.

debian/usr      PostgreSQL with TimescaleDB, Redis, and what else a machine lacks: Debian's own
                files, seen in the place of /usr by the servers that need them (become.py)
bin/minio       built from its source
trino/          its server, with the plug-ins that we use
python/         Prefect and MLflow, whose packages go other ways than ours
installed/      a note per part: what was wanted, and which versions answered
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lake.errors import Unavailable

INSTALL = "install it with: make stack"


@dataclass(frozen=True)
class Note:
    """What a part was installed from, the versions that answered, and paths found elsewhere."""

    wanted: str
    versions: Mapping[str, str]
    paths: Mapping[str, str]


@dataclass(frozen=True)
class Software:
    """The software of one folder (absolute path)."""

    folder: Path

    @property
    def usr(self) -> Path:
        """Return the other Debian's /usr."""
        return self.folder / "debian" / "usr"

    @property
    def minio(self) -> Path:
        """Return MinIO's program."""
        return self.folder / "bin" / "minio"

    @property
    def trino(self) -> Path:
        """Return Trino's folder."""
        return self.folder / "trino"

    @property
    def python(self) -> Path:
        """Return the interpreter that Prefect and MLflow are installed for."""
        return self.folder / "python" / "bin" / "python"

    def note_path(self, part: str) -> Path:
        """Return where the note of a part lies."""
        return self.folder / "installed" / f"{part}.json"

    def note(self, part: str) -> Note | None:
        """Return the note of a part; None when it is not installed."""
        try:
            found = json.loads(self.note_path(part).read_text())
            return Note(found["wanted"], found["versions"], found["paths"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def write_note(self, part: str, note: Note) -> None:
        """Say that a part is installed, at once."""
        path = self.note_path(part)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(note.__dict__, indent=2) + "\n")
        new.replace(path)

    def version(self, part: str, program: str) -> str:
        """Return the version of a program, as it answered when it was installed."""
        return self.installed(part).versions[program]

    def installed(self, part: str) -> Note:
        """Return the note of a part; Unavailable when it is not installed."""
        note = self.note(part)
        if note is None:
            raise Unavailable(f"{part} in {self.folder}", "not installed", INSTALL)
        return note

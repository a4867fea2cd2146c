"""Find the SQL files of this folder."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Migration:
    """A numbered file of statements that are applied in one transaction."""

    version: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Return the checksum of the file's text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def text(path: str) -> str:
    """Return a file's text, for instance text("views/candles.sql")."""
    return files("warehouse_sql").joinpath(path).read_text(encoding="utf-8")


def names(folder: str) -> list[str]:
    """Return the names of a folder's SQL files, sorted, without their ending."""
    found = files("warehouse_sql").joinpath(folder).iterdir()
    return sorted(each.name[:-4] for each in found if each.name.endswith(".sql"))


@cache
def migrations() -> tuple[Migration, ...]:
    """Return the migrations in order of their numbers."""
    found = (
        Migration(int(match[1]), match[2], each.read_text(encoding="utf-8"))
        for each in files("warehouse_sql").joinpath("migrations").iterdir()
        if (match := _FILE_NAME.fullmatch(each.name))
    )
    return tuple(sorted(found, key=lambda migration: migration.version))


_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")

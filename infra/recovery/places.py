"""Find a home's place of backups: from the setting, else where they went last time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra.recovery.folder_place import FolderPlace
from infra.recovery.place import Place
from lake.errors import BadInput, WrongUse
from lake.settings import Settings
from lake.state import read_state

OFF = "off"


def wanted(settings: Settings) -> dict[str, Any] | None:
    """Return what a home's state says of backups: {"place", "hours", "settings"}.

    Empty where they are to be off, None where nothing is set: then it stays as it is.
    """
    if not settings.backup:
        return None
    if settings.backup == OFF:
        return {}
    place = settings.backup
    if "://" not in place:
        place = str(Path(place).expanduser().resolve())
    return {
        "place": place,
        "hours": settings.recovery_hours,
        "settings": dict(place_at(place).settings()),
    }


def place_at(address: str) -> Place:
    """Return the place of an address; raises BadInput for one that can't be."""
    if "://" in address:
        raise BadInput("TICKLAKE_BACKUP", f"{address!r} is no place of backups", "name a folder")
    return FolderPlace(Path(address))


def place_of(home: Path) -> Place:
    """Return where a home's backups are; raises WrongUse where they are off."""
    found = read_state(home).get("backup")
    if not found:
        raise WrongUse(
            "backup", "is off in this home", "set TICKLAKE_BACKUP to a folder, then: ticklake up"
        )
    return place_at(found["place"])

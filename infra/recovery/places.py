"""Find a home's place of backups: from the setting, else where they went last time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyarrow.fs import S3FileSystem

from infra.recovery.bucket_place import BucketPlace
from infra.recovery.folder_place import FolderPlace
from infra.recovery.place import Place
from lake.errors import BadInput, WrongUse
from lake.hot.recovery import OTHERS
from lake.settings import Settings
from lake.state import read_state
from lake.warehouse import S3_SCHEME

OFF = "off"


def wanted(
    settings: Settings, state: Mapping[str, Any] | None = None, *, given: bool = False
) -> dict[str, Any] | None:
    """Return what a home's state says of backups: {"place", "hours", "settings"}.

    Empty where they are to be off, None where nothing is set: then it stays as it is. given: others
    run the servers, and alone can back them up. Raises BadInput for a place that can't be.
    """
    if not settings.backup:
        return None
    if settings.backup == OFF:
        return {}
    if given and (settings.backup == OTHERS or settings.backup.startswith(S3_SCHEME)):
        return {"place": settings.backup, "hours": settings.recovery_hours, "settings": {}}
    if settings.backup == OTHERS:
        fault = f"{OTHERS!r} is for servers that others run"
        raise BadInput("TICKLAKE_BACKUP", fault, "name a folder or s3://")
    place, home = settings.backup, settings.home.resolve()
    state = read_state(home) if state is None else state
    if "://" not in place:
        place = str(Path(place).expanduser().resolve())
    return {
        "place": place,
        "hours": settings.recovery_hours,
        "settings": dict(place_at(place, home, state).settings()),
    }


def place_at(address: str, home: Path, state: Mapping[str, Any]) -> Place:
    """Return the place of an address; raises BadInput for one that can't be.

    home: absolute path; state: its own, which knows the store of a bucket.
    """
    if "://" not in address:
        return FolderPlace(Path(address))
    if not address.startswith(S3_SCHEME):
        raise BadInput("TICKLAKE_BACKUP", f"{address!r} is no place of backups", "folder or s3://")
    store = state.get("s3", {})
    keys = {**store, **state.get("roles", {}).get("operator", {}).get("s3", {})}
    return BucketPlace(address, store_of(keys), home / "archive" / "wal")


def store_of(keys: Mapping[str, Any], *, makes_buckets: bool = False) -> S3FileSystem:
    """Return the store of these keys, in the state's words (lake.state)."""
    return S3FileSystem(
        access_key=keys.get("access_key"),
        secret_key=keys.get("secret_key"),
        endpoint_override=keys.get("endpoint"),
        region=keys.get("region"),
        tls_ca_file_path=keys.get("ca"),
        allow_bucket_creation=makes_buckets,
    )


def place_of(home: Path) -> Place:
    """Return where a home's backups are; raises WrongUse where they are off."""
    found = read_state(home).get("backup")
    if not found:
        raise WrongUse("backup", "is off in this home", "set TICKLAKE_BACKUP, then: ticklake up")
    return place_at(found["place"], home, read_state(home))

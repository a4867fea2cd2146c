"""Where a home's ledger has its second place and its key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feature_repo.ledger.second_place import LockedBucket, LockedFolder, SecondPlace
from lake.clock import Clock
from lake.settings import Settings
from lake.state import read_state
from lake.warehouse import Bucket, warehouse_at

FOLDER = "ledger"
STORE, OF_STORE = "s3", "ledger_place"
"""Where the state of a home says of its store which second place is there, if any."""

KEY = "keys/ledger.pem"


def ledger_key(settings: Settings) -> Path:
    """Return the file of the private key."""
    return settings.ledger_key or settings.home / KEY


def location_of(settings: Settings, store: Mapping[str, Any]) -> str:
    """Return where it is: as set, or that of the store; "" for the home's folder.

    A home that has anchors in its folder keeps to it: they don't move by themselves.
    """
    if settings.ledger_place or (settings.home / FOLDER).is_dir():
        return settings.ledger_place
    return str(store.get(OF_STORE, ""))


def second_place(settings: Settings, clock: Clock) -> SecondPlace:
    """Return the second place; a bucket is made, with object lock, where it is not there."""
    store = read_state(settings.home).get(STORE, {})
    location = location_of(settings, store)
    if not location:
        return LockedFolder(settings.home / FOLDER)
    found = warehouse_at({**store, "location": location})
    if isinstance(found, Bucket):
        place = LockedBucket(found, clock)
        place.make()
        return place
    return LockedFolder(Path(found.location))

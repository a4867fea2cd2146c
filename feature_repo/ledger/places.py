"""Where a home's ledger has its second place and its key."""

from __future__ import annotations

from pathlib import Path

from feature_repo.ledger.second_place import LockedBucket, LockedFolder, SecondPlace
from lake.clock import Clock
from lake.settings import Settings
from lake.state import read_state
from lake.warehouse import Bucket, warehouse_at

FOLDER = "ledger"
KEY = "keys/ledger.pem"


def ledger_key(settings: Settings) -> Path:
    """Return the file of the private key."""
    return settings.ledger_key or settings.home / KEY


def second_place(settings: Settings, clock: Clock) -> SecondPlace:
    """Return the second place; a bucket is made, with object lock, where it is not there."""
    if not settings.ledger_place:
        return LockedFolder(settings.home / FOLDER)
    store = read_state(settings.home).get("s3", {})
    found = warehouse_at({**store, "location": settings.ledger_place})
    if isinstance(found, Bucket):
        place = LockedBucket(found, clock)
        place.make()
        return place
    return LockedFolder(Path(found.location))

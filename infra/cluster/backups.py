"""The process that backs up a database in a container beside it: `python -m infra.cluster.backups`.

A base backup a day and the log every minute, to the bucket of TICKLAKE_BACKUP, by the same rounds
as in a home (infra.resident.backups). Where it is `off`, what the server archives is thrown away;
where it is `others`, it is left to them.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from pyarrow.fs import FileType

from infra.cluster.remote import SPOOL, RemotePostgres, place_from
from infra.recovery.bucket_place import BucketPlace, store_faults
from infra.recovery.places import OFF
from infra.resident.backups import ROUND_S, Backups, Kept
from lake.clock import Clock, SystemClock
from lake.errors import TicklakeError
from lake.hot.recovery import OTHERS

BEAT = "round"
"""Touched beside the spool before and after each round, for the health check."""

UNFINISHED = "base-*"
"""What a base backup that was killed leaves beside the spool."""


class Rounds:
    """The rounds of one server whose log is left in a spool.

    environ: what it is told, libpq's variables of the operator among it. Raises BadInput.
    """

    def __init__(self, environ: Mapping[str, str], clock: Clock, spool: Path = SPOOL) -> None:
        self._address = environ.get("TICKLAKE_BACKUP") or OFF
        self._spool = spool
        self._backups: Backups | None = None
        if self._address not in (OFF, OTHERS):
            place = place_from(environ, self._address, spool)
            server = RemotePostgres(environ)
            kept = Kept(lambda: "", lambda: seen_to(place), lambda: server, "this container's log")
            self._backups = Backups(kept, clock)
        for rest in spool.parent.glob(UNFINISHED):
            shutil.rmtree(rest, ignore_errors=True)

    def round(self) -> bool:
        """Ship, back up where it is due; tell whether a base backup was taken."""
        beat = self._spool.parent / BEAT
        beat.touch()
        taken = self._backups.round() if self._backups is not None else self._thrown_away()
        beat.touch()
        return taken

    def _thrown_away(self) -> bool:
        if self._address == OFF:
            for path in self._spool.iterdir():
                path.unlink()
        return False


def seen_to(place: BucketPlace) -> BucketPlace:
    """Make a place's bucket where it is missing; Unavailable where we may not."""
    bucket = place.root.partition("/")[0]
    with store_faults():
        if place.store.get_file_info(bucket).type == FileType.NotFound:
            place.store.create_dir(bucket)
    return place


def run_from_env(environ: Mapping[str, str]) -> None:
    """Run until a signal comes; the first process of a container is ended by none it has not asked
    for.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    clock = SystemClock()
    rounds = Rounds(environ, clock)
    while True:
        rounds.round()
        clock.sleep(ROUND_S)


if __name__ == "__main__":
    try:
        run_from_env(os.environ)
    except TicklakeError as error:
        sys.exit(f"backups: {error}")

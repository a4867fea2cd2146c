"""The process that backs a home up: a base backup a day, and the log to its bucket every minute.

    python -m infra.resident.backups HOME

When the next one is due is asked of what is there (market.backups), so a restart takes none too
many. What fails is an alert until it succeeds, and is tried again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg

from infra.command.profile import started
from infra.recovery.backup import backup_now, ship_now
from infra.recovery.place import Place, Source
from infra.recovery.places import place_of
from lake.clock import Clock, SystemClock, utc_from_us
from lake.errors import TicklakeError, Unavailable
from lake.hot.alerts import clear_alert, raise_alert
from lake.roles import role_dsn
from lake.settings import Settings, from_env

EVERY = timedelta(days=1)
"""Age of the newest base backup at which another is taken."""

ROUND_S = 60.0
"""Between two shipments; what a lost machine takes with it is about as much."""

RETRY_S_MAX = 3_600.0
"""A base backup that failed is tried again after 1, 2, 4 ... minutes, an hour at most."""


@dataclass(frozen=True)
class Kept:
    """What is backed up: the operator's libpq address, where backups rest, the server as it is to
    be reached now, and where is said what became of it.
    """

    dsn: Callable[[], str]
    place: Callable[[], Place]
    server: Callable[[], Source]
    log: str


def of_home(settings: Settings, clock: Clock) -> Kept:
    """Return a home's own server and place."""
    home = settings.home.resolve()
    return Kept(
        lambda: role_dsn(home, "operator"),
        lambda: place_of(home),
        lambda: started(settings, home).postgres_of(home, clock),
        str(home / "log" / "backups.log"),
    )


class Backups:
    """The backups of one server, round by round."""

    def __init__(self, kept: Kept, clock: Clock) -> None:
        self._kept = kept
        self._clock = clock
        self._again_us = 0
        self._failures = 0

    def round(self) -> bool:
        """Ship what is archived, back up if it is due; tell whether a base backup was taken."""
        self._watched("backup log", self._ship)
        if self._clock.monotonic_us() < self._again_us or not self._due():
            return False
        taken = self._watched("base backup", self._take)
        self._failures = 0 if taken else self._failures + 1
        wait_s = 0.0 if taken else min(RETRY_S_MAX, ROUND_S * 2 ** (self._failures - 1))
        self._again_us = self._clock.monotonic_us() + int(wait_s * 1e6)
        return taken

    def _due(self) -> bool:
        """Tell whether the newest base backup is EVERY old; no while the database is away."""
        now = utc_from_us(self._clock.now_us())
        with suppress(psycopg.OperationalError), self._connected() as connection:
            row = connection.execute("SELECT max(ended_at) FROM market.backups").fetchone()
            return row is None or row[0] is None or row[0] <= now - EVERY
        return False

    def _take(self) -> None:
        kept = self._kept
        taken = backup_now(kept.dsn(), kept.place(), kept.server(), self._clock)
        print(f"backups: took {taken.backup.name}", flush=True)

    def _ship(self) -> None:
        ship_now(self._kept.dsn(), self._kept.place())

    def _watched(self, thing: str, work: Callable[[], None]) -> bool:
        """Do it; what fails is an alert of this thing until it is done."""
        try:
            work()
        except (TicklakeError, OSError, psycopg.Error) as error:
            fault = " ".join(str(error).split()) or type(error).__name__
            print(f"backups: {thing}: {fault}", file=sys.stderr, flush=True)
            with suppress(psycopg.Error, Unavailable), self._connected() as connection:
                remedy = f"see {self._kept.log}; it is tried again"
                raise_alert(connection, self._clock, thing, fault, remedy)
            return False
        with suppress(psycopg.Error, Unavailable), self._connected() as connection:
            clear_alert(connection, thing)
        return True

    def _connected(self) -> psycopg.Connection:
        return psycopg.connect(self._kept.dsn(), autocommit=True, connect_timeout=CONNECT_S_MAX)


CONNECT_S_MAX = 5


def main() -> None:
    """Run until a signal comes."""
    clock = SystemClock()
    settings = from_env(os.environ, home=Path(sys.argv[1]))
    backups = Backups(of_home(settings, clock), clock)
    while True:
        backups.round()
        clock.sleep(ROUND_S)


if __name__ == "__main__":
    main()

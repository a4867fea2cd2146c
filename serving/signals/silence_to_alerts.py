"""Alerts of models that are silent for too long: raised once, and cleared once they speak again.

A thread of its own; while the database is away it tries again, and the process's report says it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from lake.clock import Clock
from lake.every import every
from lake.hot.alerts import clear_alert, raise_alert
from serving.signals.silence import Silences

LOG = logging.getLogger("ticklake.signals")
EVERY_S = 15.0
CONNECT_S_MAX = 5
STATEMENT_MS_MAX = 5_000
REMEDY = (
    "see log/signals.log and log/session.log; give the role to a version that answers:"
    " ticklake models promote"
)


class SilenceAlerts:
    """Of one process. prefix: of the things that are its own, as serving.signals.silence has them.

    What a process before it left open is cleared once the thing speaks, or is no more.
    """

    def __init__(self, dsn: str, clock: Clock, silences: Silences, prefix: str) -> None:
        self._dsn = dsn
        self._clock = clock
        self._silences = silences
        self._prefix = prefix

    def tell(self) -> None:
        """Bring the table to what is so now; a database that is away is logged."""
        self._within(self._tell)

    def end(self) -> None:
        """Clear all: the process ends in order, and nobody is to speak."""
        self._within(lambda connection: self._clear(connection, lambda _: True))

    def _within(self, act: Callable[[psycopg.Connection], None]) -> None:
        try:
            with psycopg.connect(
                self._dsn, autocommit=True, connect_timeout=CONNECT_S_MAX
            ) as connection:
                connection.execute(f"SET statement_timeout = {STATEMENT_MS_MAX}".encode())
                act(connection)
        except psycopg.Error as error:
            LOG.warning("alerts: %s", " ".join(str(error).split()))

    def _tell(self, connection: psycopg.Connection) -> None:
        faults = self._silences.faults()
        for thing, fault in faults.items():
            raise_alert(connection, self._clock, thing, fault, REMEDY)
        self._clear(connection, lambda thing: thing not in faults and self._silences.is_over(thing))

    def _clear(self, connection: psycopg.Connection, is_over: Callable[[str], bool]) -> None:
        rows = connection.execute(
            "SELECT thing FROM market.alerts WHERE starts_with(thing, %s)", (self._prefix,)
        )
        for (thing,) in rows.fetchall():
            if is_over(thing):
                clear_alert(connection, thing)


@contextmanager
def telling(alerts: SilenceAlerts, look: Callable[[], object] = tuple) -> Iterator[None]:
    """Tell every EVERY_S, after a look, in a thread; clear all at the end."""

    def tell() -> None:
        look()
        alerts.tell()

    try:
        with every(EVERY_S, tell, "silences"):
            yield
    finally:
        alerts.end()

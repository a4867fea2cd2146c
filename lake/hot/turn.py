"""One run at a time: whoever makes a set of lake tables from others takes its turn.

A lock of the server's keeps runs apart and goes with its session, so a run that died is no
hindrance; the lease's epoch, raised at each turn, makes the catalog refuse a run that lost its
session and went on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from lake.errors import Unavailable
from lake.hot.lease import Lease

TURN_S_MAX = 60
"""Seconds that a run waits for the one before it."""


@contextmanager
def turn(dsn: str, name: str, *, wait_s: float = TURN_S_MAX) -> Iterator[Lease]:
    """Hold the turn of this name; its lease fences every earlier run.

    Raises Unavailable when another run is still at work after wait_s seconds.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT set_config('lock_timeout', %s, false)", (f"{wait_s:.3f}s",))
        try:
            connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (name,))
        except psycopg.errors.LockNotAvailable as error:
            raise Unavailable(
                name, f"another run is at work, for more than {wait_s:g} s", "wait for it"
            ) from error
        connection.execute(
            "INSERT INTO market.leases (name) VALUES (%s) ON CONFLICT DO NOTHING", (name,)
        )
        row = connection.execute(
            "UPDATE market.leases SET epoch = epoch + 1 WHERE name = %s RETURNING epoch", (name,)
        ).fetchone()
        assert row is not None
        yield Lease(name, int(row[0]))

"""A lock between processes: a file of which one at a time holds the lock, until it ends."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.servers.process import wait_until
from lake.clock import Clock
from lake.errors import Unavailable


@contextmanager
def held(
    path: Path,
    clock: Clock,
    seconds_max: float,
    refused: Unavailable,
    waiting: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Hold the lock of a file, made when it is missing.

    waiting: called once where another one holds it. Raises refused when it does for too long.
    """
    with path.open("a") as file:

        def taken() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not taken():
            waiting()
            if not wait_until(clock, taken, seconds_max):
                raise refused
        yield

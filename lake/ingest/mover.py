"""The process beside a socket reader: journal to hot, hot to lake, upkeep; four threads.

It ends when told to drain and everything durable is in the lake, or at once when it is fenced. A
thread that meets a server that is not there waits and goes on; it never loses its place, since its
place is in the stores.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing, suppress

import psycopg

from lake.errors import TicklakeError
from lake.hot.lease import COMMITTER, LEASE_SECONDS, beat, release, take
from lake.hot.standing import newest_through
from lake.ingest.commit_loop import CommitLoop
from lake.ingest.hot_to_lake import LAKE_DATASETS
from lake.ingest.keep_loop import KeepLoop
from lake.ingest.mover_context import MoverContext, first_words
from lake.ingest.roll_loop import RollLoop
from lake.ingest.write_loop import WriteLoop
from lake.tables.catalog import open_catalog
from lake.tables.lake_table import announce

BEAT_S = LEASE_SECONDS / 5
LOOK_S = 0.1
ANNOUNCE_TRIES_MAX = 50


class Mover:
    """One shard's writer, and a candidate for the lake's committer."""

    def __init__(self, context: MoverContext) -> None:
        self.context = context
        self._fault: BaseException | None = None

    def run(self) -> None:
        """Work until drained or fenced; raises what ended it."""
        context = self.context
        place = context.place
        with closing(open_catalog(place.commit.dsn, place.commit.warehouse)) as catalog:
            announce(catalog, LAKE_DATASETS, place.shard, tries_max=ANNOUNCE_TRIES_MAX)
        with psycopg.connect(place.dsn, autocommit=True) as connection:
            loops = (WriteLoop(context), CommitLoop(context), KeepLoop(context), RollLoop(context))
            threads = [threading.Thread(target=self._guard, args=(loop.run,)) for loop in loops]
            self._beat_once(connection)
            for thread in threads:
                thread.start()
            self._beat(connection, threads)
        if self._fault is not None:
            raise self._fault

    def _beat(self, connection: psycopg.Connection, threads: list[threading.Thread]) -> None:
        """Hold the leases while any thread works; give them up at an orderly end."""
        clock = self.context.clock
        beaten_us = clock.monotonic_us()
        while any(thread.is_alive() for thread in threads):
            clock.sleep(LOOK_S)
            if self.context.seconds_since(beaten_us) >= BEAT_S:
                connection = self._beat_once(connection)
                beaten_us = clock.monotonic_us()
        if self._fault is None:
            # Without it the next owner sees that this process is gone, or waits.
            with suppress(psycopg.OperationalError):
                for lease in filter(None, (self.context.lease, self.context.committer)):
                    release(connection, lease)
        connection.close()

    def _beat_once(self, connection: psycopg.Connection) -> psycopg.Connection:
        context = self.context
        try:
            if connection.closed:
                connection = psycopg.connect(context.place.dsn, autocommit=True)
            beat(connection, context.lease)
            if context.committer is not None:
                beat(connection, context.committer)
            elif not context.stop.is_set():
                context.committer = take(connection, COMMITTER)
                context.progress.committer = context.committer is not None
            if context.committer is None:
                held = newest_through(connection)
                context.progress.lake_frame = held.get(context.place.shard, 0)
        except psycopg.Error as error:
            context.progress.last_fault = first_words(error)
            connection.close()
        except TicklakeError as error:
            self._end(error)
        return connection

    def _end(self, error: BaseException) -> None:
        self._fault = self._fault or error
        self.context.stop.set()

    def _guard(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException as error:  # a thread's end is the process' end: hand it to run()
            self._end(error)

"""The mover's fourth thread: trades to bars in hot, while this process is the committer."""

from __future__ import annotations

import psycopg

from lake.hot.bars import HotToBars
from lake.ingest.mover_context import SERVER_FAULTS, Backoff, MoverContext

ROLL_S = 1.0
LAG_MS_MAX = 750
"""A writer that is later than this gets the server's time: a round costs it 3.5 us a trade."""

ROUNDS_WAITED_MAX = 10
"""Of so many rounds bars get one even then."""

FORGET_EVERY = 3_600
"""Every so many rounds (an hour; and not at the start) delete bars whose age has come."""

FOLLOW_S = 0.2

FAULTS_MAX = 5
"""Refusals of the server after which an ingest ends without its last bars; the next start makes
them."""


class RollLoop:
    """Roll up what is new every second; when drained, until the writer has ended and once more."""

    def __init__(self, context: MoverContext) -> None:
        self._context = context
        self._rounds = 0
        self._waited = 0
        self._faults = 0

    def run(self) -> None:
        """Run in a thread of its own."""
        context = self._context
        backoff = Backoff(context, "roller")
        while not context.stop.is_set():
            if context.committer is None:
                if context.written.is_set():
                    return  # the committer, now or later, takes our trades too
                context.stop.wait(FOLLOW_S)
                continue
            try:
                with psycopg.connect(context.place.keep.dsn, autocommit=True) as connection:
                    if self._roll(HotToBars(connection, context.clock), backoff):
                        return
            except SERVER_FAULTS as error:
                backoff.wait(error)
            except psycopg.Error as error:
                # Bars can be made later; what is written and what is in the lake stands without.
                self._faults += 1
                if context.written.is_set() and self._faults >= FAULTS_MAX:
                    return
                backoff.wait(error)

    def _roll(self, bars: HotToBars, backoff: Backoff) -> bool:
        """Return True when everything written is rolled up and nothing more is to come."""
        context = self._context
        while not context.stop.is_set():
            start_us = context.clock.monotonic_us()
            if self._gives_way():
                context.rest(ROLL_S, start_us)
                continue
            last = context.written.is_set()
            with context.times.stage("roll_up"):
                taken = bars.step()
            backoff.reset()
            if last and not taken:
                return True
            self._rounds += 1
            if self._rounds % FORGET_EVERY == 0:
                bars.forget_old()
            if not context.drain.is_set():
                context.rest(ROLL_S, start_us)  # also when more came: each round has its price
            elif not taken:
                context.written.wait(FOLLOW_S)
        return False

    def _gives_way(self) -> bool:
        """Tell whether the writer is late, for which bars wait, but not for ever."""
        context = self._context
        late = context.progress.lag_ms > LAG_MS_MAX and not context.drain.is_set()
        self._waited = self._waited + 1 if late else 0
        return self._waited % ROUNDS_WAITED_MAX > 0

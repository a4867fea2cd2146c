"""Take in what a venue's history has of a span of time, through the same journal as all else.

Only what has a key is taken from it: keys take out what comes twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from lake.clock import Clock
from lake.ingest.control import HISTORY_CONNECTION
from lake.ingest.intake import FRAMES_WAITING_MAX, Intake

STEP_US = 10_000_000
STEPS_MAX = 1_000
"""A span is asked for in steps of this length, or in so many."""

MARGIN_US = 1_000_000
"""Asked on both sides of a span: what was under way when it began or ended."""

FILLS = "crypto_trades,crypto_aggregates"
"""Datasets whose events have keys, as `feed_gaps` names them."""

History = Callable[[int, int], Awaitable[list[bytes]]]
"""Return the venue's frames from (inclusive) to (exclusive), in UTC microseconds.

Raises OSError when the venue does not have them, or is not there.
"""


class HistoryToJournal:
    """One venue's history."""

    def __init__(self, feed: str, history: History, intake: Intake, clock: Clock) -> None:
        self._history = history
        self._intake = intake
        self._clock = clock
        self._lane = intake.lane(feed, HISTORY_CONNECTION)
        self.fault = ""

    async def refill(self, from_us: int, to_us: int) -> str:
        """Take in a span; return the datasets that are whole in it now, "" for none.

        What can be had is taken, also where the venue does not have it all.
        """
        fault = ""
        start_us, end_us = from_us - MARGIN_US, to_us + MARGIN_US
        step_us = max(STEP_US, (end_us - start_us) // STEPS_MAX)
        for at_us in range(start_us, end_us, step_us):
            try:
                frames = await self._history(at_us, min(end_us, at_us + step_us))
            except OSError as error:
                fault = str(error)
                continue
            self._lane.frames.extend(frames)
            self._lane.received_us.extend([self._clock.now_us()] * len(frames))
            if len(self._lane.frames) > FRAMES_WAITING_MAX:
                await self._intake.flush()
        self.fault = fault
        return "" if fault else FILLS

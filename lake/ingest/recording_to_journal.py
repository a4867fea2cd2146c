"""Replay a recording into the journal, at its own pace or faster.

received_time is the recorder's, as recorded: replaying the same file again gives the same rows, and
those that are there already are known by their keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lake.clock import Clock
from lake.errors import WrongUse
from lake.feeds.instrument import warehouse_ticker
from lake.feeds.recording import instruments, open_recording
from lake.ingest import control
from lake.ingest.intake import Intake
from lake.ingest.request import IngestRequest, speed_factor

AHEAD_S = 0.05
"""Frames due within this time go in together."""

TICKERS_SAID_MAX = 10

FRAMES_AT_ONCE = 5_000
"""Frames handed in between two flushes when there is no pace to keep."""


class RecordingToJournal:
    """One recording's way into the journal: of the tickers asked for, or of all it holds.

    A frame that names several goes in whole. Raises WrongUse for a recording without any of them.
    """

    def __init__(self, path: Path, request: IngestRequest) -> None:
        self._recording = open_recording(path)
        self._held = sorted(ticker for _, _, ticker in instruments(path))
        if request.tickers:
            named = {name for ticker in request.tickers for name in _names(ticker)}
            if not named.intersection(self._held):
                held = ", ".join(self._held[:TICKERS_SAID_MAX]) or "no ticker"
                raise WrongUse(
                    str(path), f"holds none of {', '.join(request.tickers)}", f"it holds {held}"
                )
            self._held = [ticker for ticker in self._held if ticker in named]
            self._recording = self._recording.only(self._held)
        self._factor = speed_factor(request.speed)

    @property
    def feed(self) -> str:
        """The feed whose codec reads the recording's frames."""
        return self._recording.feed

    def claims(self) -> list[str]:
        """Return what the recording holds, as claims of a shard."""
        return [f"{self.feed}|{ticker}" for ticker in self._held]

    async def run(self, intake: Intake, clock: Clock, ended: asyncio.Event) -> None:
        """Hand every frame in, in order; raises BadInput where the recording is broken, after all
        frames before that place.
        """
        lane = intake.lane(self.feed, 0, recorded=True)
        up = control.Up(0, clock.now_us())
        intake.note(self.feed, lambda: up)
        first_us: int | None = None
        start_us = clock.monotonic_us()
        batches = iter(self._recording.batches())
        while not ended.is_set():
            batch = await asyncio.to_thread(next, batches, None)
            if batch is None:
                break
            for received_us, raw in batch:
                if first_us is None:
                    first_us = received_us
                due_s = (received_us - first_us) / 1e6 / self._factor
                wait_s = due_s - (clock.monotonic_us() - start_us) / 1e6
                if wait_s > AHEAD_S:
                    await asyncio.sleep(wait_s)
                    if ended.is_set():
                        return
                lane.frames.append(raw)
                lane.received_us.append(received_us)
                if len(lane.frames) >= FRAMES_AT_ONCE:
                    await intake.flush()
        await intake.flush()


def _names(ticker: str) -> Iterator[str]:
    """Yield what rows may call a ticker: as it is written, for contracts too, and as a pair."""
    yield f"X:{ticker.strip().upper().removeprefix('X:')}"
    with suppress(WrongUse):
        yield warehouse_ticker(ticker)

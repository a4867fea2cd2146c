"""What the exchange sent, again: trades and quotes made anew from their seeds, bars as kept."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence

from infra.exchange.frames import FrameRenderer
from infra.exchange.subscription import EVENTS, Subscription
from infra.exchange.ticks import TickFlow

BARS_MAX = 200_000
"""Bars kept; the oldest go first."""

Bar = tuple[str, int, bytes]
"""Event, pair, and the event's text."""


class History:
    """Knows when each tick was sent; a thread may read while the exchange goes on sending.

    What happened during a silence counts as sent at its tick, though no listener got it.
    """

    def __init__(
        self, flow: TickFlow, renderer: FrameRenderer, names: Sequence[str], events_per_frame: int
    ) -> None:
        self._flow = flow
        self._renderer = renderer
        self._names = names
        self._events_per_frame = events_per_frame
        self._sent_us = array("q")
        self._bars: deque[tuple[int, Bar]] = deque(maxlen=BARS_MAX)

    def sent(self, now_us: int, bars: Sequence[Bar]) -> int:
        """Note that the next tick is sent now; return its time, which never steps back."""
        if self._sent_us:
            now_us = max(now_us, self._sent_us[-1])
        self._bars.extend((now_us, bar) for bar in bars)
        self._sent_us.append(now_us)
        return now_us

    def frames(self, from_us: int, to_us: int, events: str, pairs: str) -> Iterator[bytes]:
        """Yield frames of what was sent from (inclusive) to (exclusive), UTC microseconds.

        events, pairs: wanted ones, joined by commas; "" for all. Raises LookupError for times that
        are no longer kept, ValueError for a name that is unknown.
        """
        wanted = Subscription(self._names)
        for event in (events or ",".join(EVENTS)).split(","):
            for pair in (pairs or "*").split(","):
                if fault := wanted.change(f"{event}.{pair}", True):
                    raise ValueError(fault)
        upto = len(self._sent_us)
        ticks = [bisect_left(self._sent_us, us, 0, upto) for us in (from_us, to_us)]
        for _, rows in self._flow.again(*ticks):
            picked = wanted.pick(rows)
            yield from self._renderer.frames(picked.rows, picked.time_ms * 0)[0]
        bars = [
            text
            for sent_us, (event, pair, text) in list(self._bars)
            if from_us <= sent_us < to_us and wanted.wants_bar(event, pair)
        ]
        yield from framed(bars, self._events_per_frame)


def framed(events: Sequence[bytes], events_per_frame: int) -> list[bytes]:
    """Return events as frames."""
    return [
        b"[" + b",".join(events[i : i + events_per_frame]) + b"]"
        for i in range(0, len(events), events_per_frame)
    ]

"""What the exchange sent, again: trades and quotes made anew from their seeds, bars as kept."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from infra.exchange.frames import FrameRenderer
from infra.exchange.subscription import EVENTS, Subscription
from infra.exchange.ticks import TickFlow

Bar = tuple[str, int, bytes]
"""Event, pair, and the event's text."""


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """How far back history goes, and how much of it is told at once.

    states: blocks that can be made again, at 100,000 events/s about half an hour (fewer with
    thousands of pairs, see STATES_BYTES_MAX). ticks: times kept, nearly three hours; twice as many
    before the older half goes. bars: the oldest go first. answer_bytes: more is refused.
    """

    states: int = 20_000
    ticks: int = 1_000_000
    bars: int = 200_000
    answer_bytes: int = 128 << 20


@dataclass(frozen=True, slots=True)
class _Sent:
    """Times (UTC microseconds, never falling) of ticks from first_tick on; grows at its end."""

    first_tick: int
    times_us: array[int]

    def ticks(self, from_us: int, to_us: int) -> tuple[int, int]:
        """Return the ticks sent from (inclusive) to (exclusive) as such a range."""
        upto = len(self.times_us)
        if self.first_tick and from_us <= self.times_us[0]:
            raise LookupError("no longer kept")
        first, last = (bisect_left(self.times_us, us, 0, upto) for us in (from_us, to_us))
        return self.first_tick + first, self.first_tick + last


class History:
    """Knows when each tick was sent; a thread may read while the exchange goes on sending.

    What happened during a silence counts as sent at its tick, though no listener got it.
    """

    def __init__(
        self,
        flow: TickFlow,
        renderer: FrameRenderer,
        names: Sequence[str],
        events_per_frame: int,
        limits: HistoryLimits,
    ) -> None:
        self._limits = limits
        self._flow = flow
        self._renderer = renderer
        self._names = names
        self._events_per_frame = events_per_frame
        self._sent = _Sent(0, array("q"))
        self._bars: deque[tuple[int, Bar]] = deque(maxlen=limits.bars)

    def sent(self, now_us: int, bars: Sequence[Bar]) -> int:
        """Note that the next tick is sent now; return its time, which never steps back."""
        times = self._sent.times_us
        if times:
            now_us = max(now_us, times[-1])
        self._bars.extend((now_us, bar) for bar in bars)
        times.append(now_us)
        kept = self._limits.ticks
        if len(times) >= 2 * kept:
            # A new object: a thread that reads the old one finds it as it was.
            self._sent = _Sent(self._sent.first_tick + len(times) - kept, times[-kept:])
        return now_us

    def frames(self, from_us: int, to_us: int, events: str, pairs: str) -> Iterator[bytes]:
        """Yield frames of what was sent from (inclusive) to (exclusive), UTC microseconds.

        events, pairs: wanted ones, joined by commas; "" for all. Trades and quotes come in the
        order sent, bars after them. Raises LookupError for times that are no longer kept,
        ValueError for a name that is unknown.
        """
        wanted = Subscription(self._names)
        for event in (events or ",".join(EVENTS)).split(","):
            for pair in (pairs or "*").split(","):
                if fault := wanted.change(f"{event}.{pair}", True):
                    raise ValueError(fault)
        for _, rows in self._flow.again(*self._sent.ticks(from_us, to_us)):
            picked = wanted.pick(rows)
            yield from self._renderer.frames(picked.rows, picked.time_ms * 0)[0]
        kept = list(self._bars)
        if len(kept) == self._limits.bars and from_us <= kept[0][0]:
            raise LookupError("no longer kept")
        bars = [
            text
            for sent_us, (event, pair, text) in kept
            if from_us <= sent_us < to_us and wanted.wants_bar(event, pair)
        ]
        yield from framed(bars, self._events_per_frame)


def framed(events: Sequence[bytes], events_per_frame: int) -> list[bytes]:
    """Return events as frames."""
    return [
        b"[" + b",".join(events[i : i + events_per_frame]) + b"]"
        for i in range(0, len(events), events_per_frame)
    ]

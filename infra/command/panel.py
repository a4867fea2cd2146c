"""What an ingest shows while it runs: a panel on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from infra.command.verb import note
from lake.clock import Clock, SystemClock
from lake.ingest.run import Status

LINE_S = 5.0
"""Time between two lines where there is no terminal."""

RATE_S_MIN = 1.0
"""Time over which events per second are counted."""

RATES_SHOWN_MAX = 40
BARS = "▁▂▃▄▅▆▇█"


class Pace:
    """Events per second, over the last second or so, and how they went before."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_us = clock.monotonic_us()
        self._events = 0
        self._rate = 0.0
        self._rates: deque[float] = deque(maxlen=RATES_SHOWN_MAX)

    def rate(self, events: int) -> float:
        """Return events per second, given how many there are now."""
        passed_s = (self._clock.monotonic_us() - self._since_us) / 1_000_000
        if passed_s >= RATE_S_MIN:
            self._rate = max(0, events - self._events) / passed_s
            self._events = events
            self._since_us = self._clock.monotonic_us()
            self._rates.append(self._rate)
        return self._rate

    def course(self) -> str:
        """Return the last rates as a row of bars, the newest at the right."""
        most = max(self._rates, default=0.0) or 1.0
        return "".join(BARS[round(rate / most * (len(BARS) - 1))] for rate in self._rates)


@contextmanager
def panel(clock: Clock | None = None) -> Iterator[Callable[[Status], None]]:
    """Yield the function that shows a status, on standard error."""
    clock = clock or SystemClock()
    pace = Pace(clock)
    if not sys.stderr.isatty():
        yield Lines(clock, pace).show
        return
    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        yield lambda status: live.update(table(status, pace), refresh=True)


class Lines:
    """One plain line every few seconds."""

    def __init__(self, clock: Clock, pace: Pace) -> None:
        self._clock = clock
        self._pace = pace
        self._next_us = clock.monotonic_us() + int(LINE_S * 1_000_000)

    def show(self, status: Status) -> None:
        """Say it if it is time to."""
        rate = self._pace.rate(status.mover.get("events", 0))
        if self._clock.monotonic_us() < self._next_us:
            return
        self._next_us += int(LINE_S * 1_000_000)
        note("  ".join(f"{name} {value}" for name, value in facts(status, rate)))


def facts(status: Status, rate: float) -> list[tuple[str, str]]:
    """Return what there is to say: name and value."""
    mover = status.mover
    found = [
        ("events/s", f"{rate:,.0f}"),
        ("events", f"{mover.get('events', 0):,}"),
        ("journal lag", f"{status.journal_lag_ms:,.0f} ms"),
        ("hot lag", f"{status.hot_lag_ms:,.0f} ms"),
        ("lake lag", f"{status.lake_lag_ms:,.0f} ms"),
    ]
    if status.reconnects:
        found.append(("reconnects", f"{status.reconnects:,}"))
    if status.replays_left:
        found.append(("replays left", f"{status.replays_left:,}"))
    if status.fault:
        found.append(("intake stopped", status.fault))
    if mover.get("waits"):
        found.append(("waits for", "; ".join(dict.fromkeys(mover["waits"].values()))))
    return found


def table(status: Status, pace: Pace) -> Table:
    """Return the panel: rates and lags, then the rows of each table that has any."""
    shown = Table(
        title=f"ingest, shard {status.shard}",
        title_style="dim",
        title_justify="left",
        show_header=False,
        box=box.ROUNDED,
        border_style="dim",
    )
    shown.add_column(style="cyan")
    shown.add_column(justify="right", style="bold", min_width=11)
    shown.add_column(style="green", min_width=RATES_SHOWN_MAX)
    for name, value in facts(status, pace.rate(status.mover.get("events", 0))):
        shown.add_row(name, value, pace.course() if name == "events/s" else "")
    shown.add_section()
    for name, count in status.mover.get("rows", {}).items():
        if count:
            shown.add_row(name, f"{count:,}", "rows")
    return shown

"""Keep bars: a loop that makes each minute's bars as soon as it closes, in a process that stays.

A run that Prefect starts each minute would begin 9 to 27 seconds late, so this one reads the hot
tail by itself; Prefect is told of it hour by hour where its server answers, and is not needed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from flows.trades_to_bars import Step, TradesToBars
from lake.bars.kernel import MINUTE_US
from lake.clock import Clock

RETRY_S = 2.0
"""Wait after a fault of a server before the next try."""

STEPS_MAX = 1_000
"""Steps in a row that one minute may take to catch up."""


def keep_bars(
    bars: TradesToBars,
    clock: Clock,
    stop: threading.Event,
    told: Callable[[Step], None],
    *,
    until_us: int,
    grace_ms: int,
) -> int:
    """Make bars minute by minute until a time (microseconds, exclusive) or a stop; return steps.

    told: hears of every step that published something. Raises what a step raises.
    """
    taken = 0
    while not stop.is_set():
        for _ in range(STEPS_MAX):
            step = bars.step()
            taken += 1
            if step.snapshot_id is not None:
                told(step)
            if not step.more or stop.is_set():
                break
        now_us = clock.now_us()
        next_us = ((now_us - grace_ms * 1_000) // MINUTE_US + 1) * MINUTE_US + grace_ms * 1_000
        if next_us >= until_us:
            return taken
        stop.wait((next_us - now_us) / 1e6)
    return taken

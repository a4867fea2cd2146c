"""When a row was there to be read: one that came in time when it came, history as it is promised.

Of imported history nobody can say when a live path would have had it. What came more than
HISTORY_AFTER_US after its time stands for a row that came as its contract promises; of all else
what was received is what was known.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from lake.contracts.contract import load

HISTORY_AFTER_US = 86_400_000_000

Int64 = npt.NDArray[np.int64]


def promised_us(datasets: Iterable[str]) -> int:
    """Return how long after their time the rows of datasets are there, by their contracts."""
    return max(load(name).freshness_minutes or 0 for name in datasets) * 60_000_000


def is_history(time_us: Int64, received_us: Int64) -> npt.NDArray[np.bool_]:
    """Tell of each row whether it was imported long after its time (of a bar: its end)."""
    return np.asarray(received_us > time_us + HISTORY_AFTER_US)


def known_us(time_us: Int64, received_us: Int64, promise_us: int, live_us: int = 0) -> Int64:
    """Return when each row was known: of history promise_us after its time.

    Of all else when it was received, and live_us after its time at the earliest.
    """
    live = np.maximum(time_us + live_us, received_us)
    return np.asarray(np.where(is_history(time_us, received_us), time_us + promise_us, live))

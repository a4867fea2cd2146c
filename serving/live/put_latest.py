"""The newest of a round as latest values: each for as long as it is new, from its receipt on.

What a worker takes late, a backlog or a recording of another day, is not new any more: it lives for
what is left of its time, or is not put at all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from redis.client import Pipeline

from lake.feeds.codec import INDEX_BITS
from serving.live.newest import ASSET, INSTRUMENT, PRICES, SENTIMENT
from serving.streams import keys, latest
from serving.streams.reader import Delivered

Rows = Iterable[Mapping[str, Any]]


def put_latest(
    pipe: Pipeline, prices: Rows, sentiment: Rows, delivered: Sequence[Delivered], now_us: int
) -> None:
    """Add to a transaction the newest price of each instrument and sentiment of each asset.

    Rows as of newest(), of the entries delivered.
    """
    received = Received(delivered)
    for rows, key, of, names, ms in (
        (prices, keys.price, INSTRUMENT, PRICES, latest.PRICE_MS),
        (sentiment, keys.sentiment, ASSET, SENTIMENT, latest.SENTIMENT_MS),
    ):
        values = [
            latest.Value(
                key(*(row[each] for each in of)),
                *(row["t"], row["s"], {name: row[name] for name in names}),
                age_ms=max(0, now_us - received.at(row["s"] >> INDEX_BITS)) // 1_000,
            )
            for row in rows
        ]
        latest.put(pipe, values, ms)


class Received:
    """When frames of entries were received; it looks at those that are asked for alone."""

    def __init__(self, delivered: Sequence[Delivered]) -> None:
        # an epoch whose frames are another's anew comes after it: it counts
        held = {each.place.frame: each.entry for each in delivered}
        self._firsts = sorted(held)
        self._entries = [held[first] for first in self._firsts]

    def at(self, frame: int) -> int:
        """Return when a frame of the entries was received, UTC microseconds."""
        entry = self._entries[max(0, bisect_right(self._firsts, frame) - 1)]
        place = int(np.searchsorted(entry.numbers, frame))
        return int(entry.received_us[min(place, len(entry.received_us) - 1)])

"""Minute and second aggregates of the trades sent, as Massive publishes them (XA, XAS)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from infra.exchange.pairs import PRICE_UNITS, SIZE_UNITS
from infra.exchange.ticks import TickRows

SETTLE_MS = 20
"""A bar goes out this long after its bucket's end: only trades held back come after it."""

UNCOUNTED_TICKS_MAX = 50
"""Ticks whose trades wait to be counted together, which costs less than tick by tick."""

Trades = list[npt.NDArray[Any]]
"""Time in ms, pair, price and size of trades, as parallel arrays."""


@dataclass
class _Bar:
    open: int
    high: int
    low: int
    close: int
    size: int
    worth: float
    trades: int


class Bars:
    """Build the bars of one interval, by the trades' exchange time.

    Within a bucket trades count in the order in which they are sent. One that is sent after its bar
    is left out of it.
    """

    def __init__(self, names: tuple[str, ...], event: str, seconds: int) -> None:
        self._names = names
        self._event = event
        self._ms = seconds * 1000
        self._out_upto = -1
        self._buckets: defaultdict[int, dict[int, _Bar]] = defaultdict(dict)
        self._uncounted: list[Trades] = []

    @property
    def event(self) -> str:
        """XA or XAS."""
        return self._event

    def add(self, rows: TickRows, now_ms: int) -> list[tuple[int, bytes]]:
        """Add the trades of a tick; return (pair, event) of the bars that are whole by now_ms."""
        columns = (rows.time_ms, rows.pair, rows.price, rows.size)
        self._uncounted.append([column[rows.trade] for column in columns])
        out_upto = max(self._out_upto, (now_ms - SETTLE_MS) // self._ms - 1)
        if out_upto == self._out_upto and len(self._uncounted) < UNCOUNTED_TICKS_MAX:
            return []
        self._count([np.concatenate(parts) for parts in zip(*self._uncounted, strict=True)])
        self._uncounted.clear()
        self._out_upto = out_upto
        return [
            (pair, self._render(pair, bucket, bar))
            for bucket in sorted(self._buckets)
            if bucket <= self._out_upto
            for pair, bar in sorted(self._buckets.pop(bucket).items())
        ]

    def _count(self, trades: Trades) -> None:
        time_ms, pair, price, size = trades
        bucket = time_ms // self._ms
        key = bucket * len(self._names) + pair
        order = np.argsort(key, kind="stable")
        order = order[bucket[order] > self._out_upto]
        if not len(order):
            return
        key, price, size = key[order], price[order], size[order]
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        highs = np.maximum.reduceat(price, starts)
        lows = np.minimum.reduceat(price, starts)
        sizes = np.add.reduceat(size, starts)
        worths = np.add.reduceat(price.astype(float) * size, starts)
        stops = np.append(starts[1:], len(key))
        for i, start in enumerate(starts.tolist()):
            number, place = divmod(int(key[start]), len(self._names))
            stop = int(stops[i])
            bars = self._buckets[number]
            bar = bars.get(place)
            if bar is None:
                first = int(price[start])
                bar = bars[place] = _Bar(first, first, first, first, 0, 0.0, 0)
            bar.high = max(bar.high, int(highs[i]))
            bar.low = min(bar.low, int(lows[i]))
            bar.close = int(price[stop - 1])
            bar.size += int(sizes[i])
            bar.worth += float(worths[i])
            bar.trades += stop - start

    def _render(self, pair: int, bucket: int, bar: _Bar) -> bytes:
        start_ms = bucket * self._ms
        prices = ",".join(
            f'"{name}":{value / PRICE_UNITS:.10g}'
            for name, value in zip("ohlc", (bar.open, bar.high, bar.low, bar.close), strict=True)
        )
        volume = bar.size / SIZE_UNITS
        vwap = bar.worth / bar.size / PRICE_UNITS
        return (
            f'{{"ev":"{self._event}","pair":"{self._names[pair]}",{prices},"v":{volume:.12g},'
            f'"vw":{vwap:.10g},"z":{volume / bar.trades:.8g},"s":{start_ms},'
            f'"e":{start_ms + self._ms}}}'
        ).encode()

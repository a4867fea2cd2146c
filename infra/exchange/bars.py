"""Minute and second aggregates of the trades sent, as Massive publishes them (XA, XAS)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from infra.exchange.pairs import PRICE_UNITS, SIZE_UNITS
from infra.exchange.ticks import TickRows


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
    """Build the bars of one interval; late trades count where they are sent."""

    def __init__(self, names: tuple[str, ...], event: str, seconds: int) -> None:
        self._names = names
        self._event = event
        self._ms = seconds * 1000
        self._bucket = -1
        self._bars: dict[int, _Bar] = {}

    @property
    def event(self) -> str:
        """XA or XAS."""
        return self._event

    def add(self, rows: TickRows, now_ms: int) -> list[tuple[int, bytes]]:
        """Add the trades of a tick; return (pair, event) of the bucket that it ends, if any."""
        bucket = now_ms // self._ms
        ended: list[tuple[int, bytes]] = []
        if bucket != self._bucket:
            ended = [(pair, self._render(pair, bar)) for pair, bar in sorted(self._bars.items())]
            self._bars.clear()
            self._bucket = bucket
        self._count(rows.take(rows.trade))
        return ended

    def _count(self, trades: TickRows) -> None:
        if not len(trades):
            return
        order = np.argsort(trades.pair, kind="stable")
        pair, price, size = (x[order] for x in (trades.pair, trades.price, trades.size))
        starts = np.flatnonzero(np.diff(pair, prepend=-1))
        highs = np.maximum.reduceat(price, starts)
        lows = np.minimum.reduceat(price, starts)
        sizes = np.add.reduceat(size, starts)
        worths = np.add.reduceat(price.astype(float) * size, starts)
        stops = np.append(starts[1:], len(pair))
        for i, start in enumerate(starts.tolist()):
            key, stop = int(pair[start]), int(stops[i])
            bar = self._bars.get(key)
            if bar is None:
                first = int(price[start])
                bar = self._bars[key] = _Bar(first, first, first, first, 0, 0.0, 0)
            bar.high = max(bar.high, int(highs[i]))
            bar.low = min(bar.low, int(lows[i]))
            bar.close = int(price[stop - 1])
            bar.size += int(sizes[i])
            bar.worth += float(worths[i])
            bar.trades += stop - start

    def _render(self, pair: int, bar: _Bar) -> bytes:
        start_ms = self._bucket * self._ms
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

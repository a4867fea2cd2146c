"""Bars to compute features of: random walks in one or more series, by seed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lake.bars.kernel import WIDTHS_US
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load

START_US = 1_704_067_200_000_000


def walk(
    rows: int, *, ticker: str = "X:BTCUSD", interval: str = "1m", seed: int = 1, gaps: float = 0.1
) -> pa.Table:
    """Return bars of one series as the table has them; gaps: share of buckets without trades."""
    random = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(random.normal(0, 1e-3, rows))), 4)
    spread = np.round(random.random((2, rows)), 4) / 10
    volume = np.round(random.random(rows) * 10, 4)
    buy = np.round(volume * random.random(rows), 4)
    step = 1 + (random.random(rows) < gaps)
    at = START_US + WIDTHS_US[interval] * np.cumsum(step)
    times = pa.array(at).cast(pa.timestamp("us", tz="UTC"))
    columns = {
        "ticker": pa.array([ticker] * rows),
        "exchange": pa.array(["sim"] * rows),
        "market": pa.array(["spot"] * rows),
        "event_time": times,
        "received_time": pa.array(at + WIDTHS_US[interval]).cast(times.type),
        "interval": pa.array([interval] * rows),
        "open": close,
        "high": close + spread[0],
        "low": close - spread[1],
        "close": close,
        "volume": volume,
        "turnover": close * volume,
        "vwap": close,
        "trades": random.integers(1, 50, rows),
        "buy_volume": buy,
        "sell_volume": volume - buy,
        "first_time": times,
        "first_seq": np.arange(rows),
        "last_time": times,
        "last_seq": np.arange(rows),
        "source": pa.array(["trades"] * rows),
    }
    schema = arrow_schema(load("bars"))
    return pa.table(
        {
            f.name: pa.array(np.round(columns[f.name], 8)).cast(f.type, safe=False)
            if pa.types.is_decimal(f.type)
            else pa.array(columns[f.name]).cast(f.type)
            for f in schema
        },
        schema=schema,
    )

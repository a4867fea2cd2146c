"""Quotes, scores and pairs of series to compute features of: random, by seed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from tests.features.bars import START_US, walk

MINUTE_US = 60_000_000
TIME = pa.timestamp("us", tz="UTC")


def table(dataset: str, columns: dict[str, object]) -> pa.Table:
    """Return columns as the contract has them; what is not given is null, or 0."""
    rows = len(columns["event_time"])  # type: ignore[arg-type]
    made = {}
    for field in arrow_schema(load(dataset)):
        values = columns.get(field.name)
        if values is None:
            values = [None if field.nullable else 0] * rows
        if isinstance(values, str):
            values = [values] * rows
        if pa.types.is_decimal(field.type):
            values = np.round(np.asarray(values, float), 8)
        made[field.name] = pa.array(values).cast(field.type, safe=False)
    return pa.table(made, schema=arrow_schema(load(dataset)))


def quotes(rows: int, *, ticker: str = "X:BTCUSD", seed: int = 1, per_minute: int = 7) -> pa.Table:
    """Return quotes of one series, about so many a minute, some minutes without one."""
    random = np.random.default_rng(seed)
    at = START_US + np.cumsum(random.exponential(MINUTE_US / per_minute, rows).astype(np.int64))
    at += np.cumsum(random.random(rows) < 0.02) * 3 * MINUTE_US
    bid = np.round(100 * np.exp(np.cumsum(random.normal(0, 1e-4, rows))), 2)
    return table(
        "crypto_quotes",
        {
            "ticker": ticker,
            "exchange": "sim",
            "market": "spot",
            "event_time": at,
            "received_time": at + 5_000,
            "event_time_source": "venue",
            "bid_price": bid,
            "bid_size": np.round(random.random(rows) * 5, 4),
            "ask_price": bid + random.integers(1, 9, rows) / 100,
            "ask_size": np.round(random.random(rows) * 5, 4),
            "seq": np.arange(rows),
        },
    )


def scores(
    rows: int, *, asset: str = "BTC", seed: int = 1, every_us: int = 900_000_000
) -> pa.Table:
    """Return scores of one asset, from START_US on, about so far apart."""
    random = np.random.default_rng(seed)
    at = START_US + np.cumsum(random.exponential(every_us, rows).astype(np.int64))
    return table(
        "market_sentiment",
        {
            "asset": asset,
            "source": "news",
            "event_time": at,
            "received_time": at + 40_000_000,
            "sentiment_score": random.random(rows) * 2 - 1,
            "confidence": random.random(rows),
            "seq": np.arange(rows),
        },
    )


def pair(rows: int, *, interval: str = "1m") -> pa.Table:
    """Return bars of X:BTCUSD and of X:ETHUSD, each with gaps of its own."""
    others = walk(rows, ticker="X:ETHUSD", seed=9, interval=interval)
    return pa.concat_tables([walk(rows, interval=interval), others])

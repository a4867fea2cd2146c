"""Made series for tests of trading: bars by chance, of prices that are written as they are read."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa

from feature_repo.trading.market import Bar, Instrument, Quote, Trade
from feature_repo.trading.money import units

BTC = Instrument("X:BTCUSD", "sim", "spot")
NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)
NOON_US = int(NOON.timestamp()) * 1_000_000
MINUTE_US = 60_000_000
KIND = pa.decimal128(28, 10)


def bar(n: int, prices: str, volume: str = "1000", instrument: Instrument = BTC) -> Bar:
    """Return the bar of minute n after noon; prices: open, high, low, close."""
    start = NOON_US + n * MINUTE_US
    end = start + MINUTE_US
    values = [units(each) for each in (*prices.split(), volume)]
    return Bar(instrument, start, end, end, *values)


def flat_bars(closes: Sequence[str], first: int = 0) -> list[Bar]:
    """Return bars, each of one price only."""
    return [bar(n, f"{each} {each} {each} {each}") for n, each in enumerate(closes, first)]


def quote(us: int, bid: str, ask: str, bid_size: str = "1", ask_size: str = "1") -> Quote:
    """Return the quote of so many microseconds after noon, known at once."""
    values = [units(each) for each in (bid, bid_size, ask, ask_size)]
    return Quote(BTC, NOON_US + us, NOON_US + us, *values)


def trade(us: int, price: str, size: str = "1") -> Trade:
    """Return a trade of others, known at once."""
    return Trade(BTC, NOON_US + us, NOON_US + us, units(price), units(size))


def bar_rows(
    seed: int, count: int, *, step: timedelta = timedelta(minutes=1), instrument: Instrument = BTC
) -> pa.Table:
    """Return bars of a random walk as the lake has them."""
    chance = np.random.default_rng(seed)
    closes = np.round(50_000 * np.exp(np.cumsum(chance.normal(0, 0.002, count))), 2)
    opens = np.round(closes * (1 + chance.normal(0, 0.0005, count)), 2)
    spread = np.abs(chance.normal(0, 0.001, count))
    highs = np.round(np.maximum(opens, closes) * (1 + spread), 2)
    lows = np.round(np.minimum(opens, closes) * (1 - spread), 2)
    volumes = np.round(chance.uniform(5, 100, count), 4)
    columns = {"open": opens, "high": highs, "low": lows, "close": closes, "volume": volumes}
    times = [NOON + step * n for n in range(count)]
    return pa.table(
        {
            "ticker": [instrument.ticker] * count,
            "exchange": [instrument.exchange] * count,
            "market": [instrument.market] * count,
            "event_time": pa.array(times, pa.timestamp("us", "UTC")),
            "received_time": pa.array([each + step for each in times], pa.timestamp("us", "UTC")),
            **{
                name: pa.array([Decimal(repr(float(each))) for each in values], KIND)
                for name, values in columns.items()
            },
        }
    )


def shuffled(seed: int, count: int) -> list[int]:
    """Return 0 to count - 1 in an order by chance."""
    found = list(range(count))
    random.Random(seed).shuffle(found)
    return found

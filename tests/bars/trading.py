"""Trades and published bars by chance, and what their bars must be, said once more in Python."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from lake.bars.kernel import INTERVALS, SERIES, WIDTHS_US
from lake.contracts.contract import load

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)
EXCLUDED = load("bars").excluded_conditions
WIDTHS = {name: timedelta(microseconds=width) for name, width in WIDTHS_US.items()}

Row = dict[str, Any]


def trades(
    seed: int, first_frame: int, start: datetime = NOON, count: int = 200, span_s: int = 5_400
) -> list[Row]:
    """Return trades, a frame each, out of order, some at one moment, some under conditions."""
    chance = random.Random(seed)
    made = []
    for frame in range(first_frame, first_frame + count):
        time = start + timedelta(seconds=chance.randrange(0, span_s, 7), microseconds=frame % 3)
        made.append(
            {
                "ticker": chance.choice(("X:BTCUSD", "X:ETHUSD")),
                "exchange": chance.choice(("sim:1", "sim:2")),
                "market": "spot",
                "trade_id": str(frame),
                "event_time": time,
                "received_time": time + timedelta(milliseconds=chance.randrange(1, 900)),
                "price": Decimal(chance.randrange(1, 10**9)) / 10**4,
                "size": Decimal(chance.randrange(1, 10**7)) / 10**5,
                "side": chance.choice(("buy", "sell", None)),
                "conditions": chance.choice((None, "2", *EXCLUDED)),
                "shard": 0,
                "seq": frame << 16,
            }
        )
    return made


def published_bar(frame: int, at: datetime, **changed: Any) -> Row:
    """Return a minute that the feed published."""
    price = Decimal(100 + frame)
    return {
        "ticker": "X:BTCUSD",
        "exchange": "sim",
        "market": "spot",
        "event_time": at,
        "received_time": at + timedelta(seconds=61),
        "interval": "1m",
        "open": price,
        "high": price + 2,
        "low": price - 1,
        "close": price + 1,
        "volume": Decimal("2.5"),
        "vwap": price,
        "average_trade_size": Decimal("0.5"),
        "shard": 0,
        "seq": frame << 16 | 1,
        **changed,
    }


def expected(rows: Iterable[Row], closed: datetime) -> list[Row]:
    """Return the bars of these trades whose bucket has closed, by their definition."""
    kept = [row for row in rows if row["conditions"] not in EXCLUDED and row["event_time"] < closed]
    made = []
    for interval in INTERVALS:
        width = WIDTHS[interval]
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in kept:
            bucket = EPOCH + (row["event_time"] - EPOCH) // width * width
            if bucket + width <= closed:
                series = tuple(row[name] for name in SERIES)
                groups.setdefault((*series, interval, bucket), []).append(row)
        made += [_bar(key, group) for key, group in groups.items()]
    return sorted(made, key=_order)


def _bar(key: tuple[Any, ...], group: list[Row]) -> Row:
    group = sorted(group, key=lambda row: (row["event_time"], row["seq"]))
    prices = [row["price"] for row in group]
    volume = sum(row["size"] for row in group)
    turnover = sum(row["price"] * row["size"] for row in group)
    sides = {side: [r["size"] for r in group if r["side"] == side] for side in ("buy", "sell")}
    ticker, exchange, market, interval, bucket = key
    return {
        "ticker": ticker,
        "exchange": exchange,
        "market": market,
        "event_time": bucket,
        "received_time": max(row["received_time"] for row in group),
        "interval": interval,
        "open": prices[0],
        "high": max(prices),
        "low": min(prices),
        "close": prices[-1],
        "volume": volume,
        "turnover": turnover,
        "vwap": (turnover / volume).quantize(Decimal("1e-10"), ROUND_HALF_UP),
        "trades": len(group),
        "buy_volume": sum(sides["buy"], Decimal(0)),
        "sell_volume": sum(sides["sell"], Decimal(0)),
        "first_time": group[0]["event_time"],
        "first_seq": group[0]["seq"],
        "last_time": group[-1]["event_time"],
        "last_seq": group[-1]["seq"],
        "source": "trades",
    }


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Return bars by key."""
    return sorted(rows, key=_order)


def _order(row: Row) -> tuple[Any, ...]:
    return (*(row[name] for name in SERIES), INTERVALS.index(row["interval"]), row["event_time"])

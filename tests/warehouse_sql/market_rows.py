"""Rows for the library of statements: a few by hand, many by a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from tests.warehouse_sql.order_rows import order_rows

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
Rows = list[dict[str, Any]]


def trade(at_s: str, price: str, size: str, side: str | None, seq: int, **other: str) -> Any:
    """Return a trade of X:AUSD on sim, unless told otherwise; at_s: seconds after noon."""
    return {
        "ticker": "X:AUSD",
        "exchange": "sim",
        "market": "spot",
        "trade_id": str(seq),
        "event_time": _at(at_s),
        "received_time": _at(at_s) + timedelta(milliseconds=3),
        "price": Decimal(price),
        "size": Decimal(size),
        "side": side,
        "conditions": None,
        "shard": 0,
        "seq": seq,
        **other,
    }


def quote(at_s: str, bid: str, bid_size: str, ask: str, ask_size: str, seq: int) -> Any:
    """Return a quote of X:AUSD on sim."""
    return {
        "ticker": "X:AUSD",
        "exchange": "sim",
        "market": "spot",
        "event_time": _at(at_s),
        "received_time": _at(at_s) + timedelta(milliseconds=3),
        "event_time_source": "exchange",
        "bid_price": Decimal(bid),
        "bid_size": Decimal(bid_size),
        "ask_price": Decimal(ask),
        "ask_size": Decimal(ask_size),
        "venue_sequence": None,
        "shard": 0,
        "seq": seq,
    }


def published(at_s: str, price: str, volume: str, seq: int, **other: str) -> Any:
    """Return a published minute of X:AUSD on sim at one price."""
    one = Decimal(price)
    return {
        "ticker": "X:AUSD",
        "exchange": "sim",
        "market": "spot",
        "event_time": _at(at_s),
        "received_time": _at(at_s) + timedelta(minutes=1, milliseconds=3),
        "interval": "1m",
        **dict.fromkeys(("open", "high", "low", "close", "vwap"), one),
        "volume": Decimal(volume),
        "average_trade_size": None,
        "shard": 0,
        "seq": seq,
        **other,
    }


def by_hand() -> dict[str, pa.Table]:
    """Return eight trades of two tickers on two exchanges, four quotes and three minutes."""
    trades = [
        trade("0.000001", "100", "1", "buy", 1),
        trade("30", "110", "2", "sell", 3),
        trade("30", "108", "1", None, 2),
        trade("120.5", "99.9999999999", "0.5", "buy", 4),
        trade("10", "101", "1.5", "sell", 5, exchange="other"),
        trade("0", "7", "3", "buy", 6, ticker="X:BUSD"),
        trade("60", "8.75", "1", "buy", 7, ticker="X:BUSD"),
        trade("179.999999", "7", "1", "sell", 8, ticker="X:BUSD"),
    ]
    quotes = [
        quote("1", "100", "2", "101", "1", 1),
        quote("2", "100.5", "1", "101", "4", 2),
        quote("3", "101.5", "1", "101", "1", 3),
        quote("4", "0", "0", "101", "1", 4),
    ]
    minutes = [
        published("0", "100", "4", 1),
        published("60", "110.0000000001", "0.5", 2),
        published("120", "7", "1", 3, ticker="X:BUSD"),
    ]
    market = {"crypto_trades": trades, "crypto_quotes": quotes, "crypto_aggregates": minutes}
    return tables({**market, **order_rows()})


def by_seed(seed: int, count: int = 3000) -> dict[str, pa.Table]:
    """Return trades and quotes of six tickers in two days, to the microsecond and tenth place."""
    chance = random.Random(seed)
    tickers = ["X:BTCUSD", "X:ETHUSD", "X:SHIBUSD", "X:O'NEILUSD", "X:ÄUSD", "X:FLATUSD"]
    last = dict(
        zip(tickers, ["63000.12", "2500.5", "0.0000172345", "12", "0.07", "1"], strict=True)
    )
    trades, quotes, minutes = [], [], []
    for seq in range(count):
        ticker = chance.choice(tickers)
        if ticker != "X:FLATUSD":
            moved = Decimal(last[ticker]) * Decimal(chance.randrange(990_000, 1_010_100)) / 10**6
            last[ticker] = str(max(moved, Decimal("1e-9")).quantize(Decimal("1e-10")))
        at_s = str(Decimal(chance.randrange(172_800 * 10**6)) / 10**6)
        size = str(Decimal(chance.randrange(1, 10**14)) / 10**10)
        side = chance.choice(["buy", "sell", None])
        venue = chance.choice(["sim", "binance"])
        trades.append(trade(at_s, last[ticker], size, side, seq, ticker=ticker, exchange=venue))
        ask = str(Decimal(last[ticker]) + Decimal(chance.randrange(-3, 100)) / 10**10)
        quotes.append({**quote(at_s, last[ticker], size, ask, size, seq), "ticker": ticker})
        minute_s = str(60 * (seq % 2_880))
        minutes.append(published(minute_s, last[ticker], size, seq, ticker=ticker))
    market = {"crypto_trades": trades, "crypto_quotes": quotes, "crypto_aggregates": minutes}
    return tables({**market, **order_rows()})


def tables(rows: Mapping[str, Rows]) -> dict[str, pa.Table]:
    """Return rows as the contracts' columns."""
    return {
        dataset: pa.Table.from_pylist(found, schema=arrow_schema(load(dataset)))
        for dataset, found in rows.items()
    }


def _at(seconds: str) -> datetime:
    return NOON + timedelta(microseconds=int(Decimal(seconds) * 1_000_000))

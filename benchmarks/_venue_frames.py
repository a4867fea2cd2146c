"""Frames of Coinbase, Kraken and of sentiment records, as they are sent: material to be changed."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
"""The fuzz's now; events are at most a second older."""


def coinbase_event(chance: random.Random) -> dict[str, Any]:
    """Return a match or a ticker with nothing wrong."""
    shared = {"product_id": "BTC-USD", "sequence": chance.randrange(1 << 40), "time": _at(chance)}
    if chance.random() < 0.5:
        event = {"type": "match", "trade_id": chance.randrange(1, 1 << 40), "side": "buy"}
        return event | {"size": _number(chance), "price": _number(chance)} | shared
    names = ("best_bid", "best_bid_size", "best_ask", "best_ask_size")
    return {"type": "ticker"} | {name: _number(chance) for name in names} | shared


def coinbase_any(chance: random.Random) -> dict[str, Any]:
    """Return one that may be a heartbeat, a subscription or a product's words instead."""
    others = [
        {"type": "heartbeat", "sequence": 90, "last_trade_id": 20, "product_id": "BTC-USD"},
        {"type": "subscriptions", "channels": [{"name": "matches", "product_ids": ["BTC-USD"]}]},
        {"type": "status", "products": [{"id": "BTC-USD", "quote_increment": "0.01"}]},
    ]
    return chance.choice([*[coinbase_event(chance)] * 6, *others])


def kraken_frame(chance: random.Random) -> dict[str, Any]:
    """Return trades or a ticker of version 2 with nothing wrong."""
    if chance.random() < 0.4:
        names = ("bid", "bid_qty", "ask", "ask_qty")
        quote = {"symbol": "BTC/USD", "timestamp": _at(chance)}
        quote |= {name: float(_number(chance)) for name in names}
        return {"channel": "ticker", "type": "update", "data": [quote]}
    trades = [
        {"symbol": "BTC/USD", "side": chance.choice(["buy", "sell"]), "ord_type": "limit"}
        | {"price": float(_number(chance)), "qty": float(_number(chance))}
        | {"trade_id": chance.randrange(1, 1 << 40), "timestamp": _at(chance)}
        for _ in range(chance.randrange(1, 4))
    ]
    return {"channel": "trade", "type": "update", "data": trades}


def kraken_any(chance: random.Random) -> Any:
    """Return one that may be of version 1, a confirmation or a heartbeat instead."""
    old = [_number(chance), _number(chance), "1699999999.123456", "b", "l", ""]
    others = [
        [337, [old, old], "trade", "XBT/USD"],
        {"channel": "heartbeat"},
        {"method": "subscribe", "success": True, "result": {"channel": "trade"}},
    ]
    return chance.choice([*[kraken_frame(chance)] * 5, *others])


def sentiment_record(chance: random.Random) -> dict[str, Any]:
    """Return a record with nothing wrong."""
    moment = chance.choice([_at(chance), int(START.timestamp()), int(START.timestamp()) * 1000])
    record = {"asset": "BTC", "source": "news", "time": moment}
    record |= {"sentiment_score": chance.randrange(-100, 101) / 100}
    metadata = chance.choice([None, {"b": [1, "é"], "a": None}, "text", 7])
    return record | {"confidence": chance.randrange(101) / 100, "metadata": metadata}


def _at(chance: random.Random) -> str:
    moment = START - timedelta(microseconds=chance.randrange(1_000_000))
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _number(chance: random.Random) -> str:
    return f"{chance.randrange(1, 10**9)}.{chance.randrange(10**6):06d}"

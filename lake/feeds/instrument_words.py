"""What venues say of their instruments: smallest steps and what a contract is worth.

A description that is not plainly right says nothing: what it describes stays as it is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from lake.errors import BadFrame
from lake.feeds import decimals

Told = Mapping[str, Any]
"""A row of `instruments` without its place: venue, market, symbol, ticker, and the steps."""

OTHER_NAMES = {"XBT": "BTC"}


def coinbase_words(message: Mapping[str, Any]) -> tuple[Told, ...]:
    """Return what a message of the channel `status` says: its `products`."""
    return _pairs("coinbase", message.get("products"), "id", "-", _COINBASE)


def kraken_words(message: Mapping[str, Any]) -> tuple[Told, ...]:
    """Return what a message of version 2's channel `instrument` says: its `pairs`."""
    data = message.get("data")
    pairs = data.get("pairs") if isinstance(data, dict) else None
    return _pairs("kraken", pairs, "symbol", "/", _KRAKEN)


def binance_words(message: Mapping[str, Any], market: str) -> tuple[Told, ...]:
    """Return what `exchangeInfo` says: its `symbols`, their filters and contract sizes."""
    found = []
    for each in _objects(message.get("symbols")):
        name = each.get("symbol")
        values = {"contractSize": each.get("contractSize")}
        for rule in _objects(each.get("filters")):
            values |= {f"{rule.get('filterType')}.{key}": value for key, value in rule.items()}
        ticker = f"X:{name}" if isinstance(name, str) and name else ""
        found.append(_told("binance", market, ticker, name, _steps(values, _BINANCE)))
    return tuple(filter(None, found))


_COINBASE = {"tick_size": "quote_increment", "lot_size": "base_increment"}
_KRAKEN = {"tick_size": "price_increment", "lot_size": "qty_increment"}
_BINANCE = {
    "tick_size": "PRICE_FILTER.tickSize",
    "lot_size": "LOT_SIZE.stepSize",
    "multiplier": "contractSize",
}


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    listed = value if isinstance(value, list) else []
    return (each for each in listed if isinstance(each, dict))


def _pairs(
    venue: str, listed: object, name: str, joiner: str, names: Mapping[str, str]
) -> tuple[Told, ...]:
    found = (
        _told(venue, "spot", _pair(each.get(name), joiner), each.get(name), _steps(each, names))
        for each in _objects(listed)
    )
    return tuple(filter(None, found))


def _pair(name: object, joiner: str) -> str:
    """Return BTC-USD as X:BTCUSD; "" for what is no pair."""
    parts = name.split(joiner) if isinstance(name, str) else []
    if len(parts) != 2 or not all(part.isalnum() and part.isascii() for part in parts):
        return ""
    return f"X:{''.join(OTHER_NAMES.get(part, part) for part in parts)}"


def _steps(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Decimal]:
    """Return the steps that are given; those that are no positive number are not."""
    found = {}
    for column, name in names.items():
        try:
            if values.get(name) is not None:
                found[column] = decimals.positive(values[name], name, column)
        except BadFrame:
            continue
    return found


def _told(
    venue: str, market: str, ticker: str, symbol: object, steps: Mapping[str, Decimal]
) -> Told | None:
    if not ticker or not steps:
        return None
    return {"venue": venue, "market": market, "symbol": symbol, "ticker": ticker, **steps}

"""Binance's sockets: spot, USD-M and COIN-M futures; combined streams or bare events.

Trades carry contiguous ids per symbol. Spot `bookTicker` carries no time at all: its event_time is
our receive time, and event_time_source says so. X other than MARKET (INSURANCE_FUND, NA, ...)
becomes the trade's conditions: Binance leaves such prints out of its own klines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from lake.errors import BadFrame
from lake.feeds import decimals
from lake.feeds.codec import Decoded, Frames
from lake.feeds.events import (
    Event,
    Ignored,
    Row,
    checked,
    code,
    decode_frames,
    parsed,
    symbol,
    time_us,
    trade_id,
)
from lake.feeds.instrument_words import binance_words
from lake.feeds.slices import whole_frame

Market = Literal["spot", "usdm", "coinm"]
SYMBOL = re.compile(r"[A-Z0-9]{2,30}(_[A-Z0-9]{1,12})?", re.ASCII)
MICROSECONDS_FROM = 10**15
"""A time with 16 digits is in microseconds: spot sends them when asked to."""

SEQUENCE_MAX = 2**63 - 1


class BinanceCodec:
    """Decode one market's frames."""

    version = 1
    ids_contiguous = True

    def __init__(self, market: Market) -> None:
        self.market = market
        self.feed = f"binance.{market}"

    def decode(self, frames: Frames, places: Iterable[int] | None = None) -> Decoded:
        """Return every event of frames (those at places), classed; never raises for a frame."""
        return decode_frames(frames, self.feed, self._events, places)

    def _events(self, raw: bytes, received_us: int) -> list[Event]:
        found = parsed(raw)
        data, path = found, "$"
        if isinstance(found, dict) and "stream" in found:
            data, path = found.get("data"), "$.data"
        return [whole_frame(checked(self._event, data, path, received_us), raw, path)]

    def _event(self, event: Mapping[str, Any], received_us: int) -> Event:
        kind = event.get("e")
        if kind == "trade":
            return self._trade(event, received_us)
        if kind == "bookTicker" or (kind is None and "u" in event and "B" in event):
            return self._quote(event, received_us)
        if kind is None and "lastUpdateId" in event:
            return Ignored("depthSnapshot")
        if kind is None and "symbols" in event:
            return Ignored("exchangeInfo", binance_words(event, self.market))
        if kind is None and ("result" in event or "id" in event):
            return Ignored("reply")
        if isinstance(kind, str) and kind in IGNORED:
            return Ignored(kind)
        raise BadFrame("e", f"{str(kind)[:40]!r} is unknown", "unknown_event")

    def _shared(self, event: Mapping[str, Any]) -> dict[str, Any]:
        name = symbol(event.get("s"), "s", SYMBOL)
        return {"ticker": f"X:{name}", "exchange": "binance", "market": self.market}

    def _trade(self, event: Mapping[str, Any], received_us: int) -> Row:
        maker_bought = event.get("m")
        if not isinstance(maker_bought, bool):
            raise BadFrame("m", "is not true or false", "bad_side")
        origin = event.get("X")
        identity = trade_id(event.get("t"), "t")
        if identity is None:
            raise BadFrame("t", "is missing", "missing_field")
        return Row(
            "crypto_trades",
            {
                **self._shared(event),
                "trade_id": identity,
                "event_time": _time(event.get("T"), "T", received_us),
                "price": decimals.positive(event.get("p"), "p", "price"),
                "size": decimals.positive(event.get("q"), "q", "size"),
                "side": "sell" if maker_bought else "buy",
                "conditions": None if origin in (None, "MARKET") else code(origin, "X"),
            },
        )

    def _quote(self, event: Mapping[str, Any], received_us: int) -> Row:
        timed = event.get("T") is not None
        return Row(
            "crypto_quotes",
            {
                **self._shared(event),
                "event_time": _time(event["T"], "T", received_us) if timed else received_us,
                "event_time_source": "exchange" if timed else "received",
                "bid_price": decimals.positive(event.get("b"), "b", "price"),
                "bid_size": decimals.not_negative(event.get("B"), "B", "size"),
                "ask_price": decimals.positive(event.get("a"), "a", "price"),
                "ask_size": decimals.not_negative(event.get("A"), "A", "size"),
                "venue_sequence": _sequence(event.get("u")),
            },
        )


IGNORED = frozenset(
    {
        "depthUpdate",
        "aggTrade",
        "kline",
        "markPriceUpdate",
        "24hrTicker",
        "24hrMiniTicker",
        "forceOrder",
        "serverShutdown",
    }
)
"""Kinds that carry nothing we store: books, prices derived from trades, notices."""


def _time(value: object, place: str, received_us: int) -> int:
    fine = isinstance(value, int) and value >= MICROSECONDS_FROM
    return time_us(value, place, received_us, unit_us=1 if fine else 1000)


def _sequence(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= SEQUENCE_MAX:
        raise BadFrame("u", f"{str(value)[:40]!r} is no update id", "bad_sequence")
    return value

"""Massive's crypto socket (formerly Polygon.io), event by event: the definition.

Every frame is a JSON array of events: XT trades, XQ quotes, XA minute and XAS second aggregates,
status. The path decodes by the column (lake.feeds.massive_columns); this module says what is right
and what is wrong, and decodes whatever is not plainly right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from lake.errors import BadFrame
from lake.feeds import decimals
from lake.feeds.codec import Decoded, Frames
from lake.feeds.events import (
    Event,
    Ignored,
    Row,
    checked,
    decode_frames,
    parsed,
    symbol,
    time_us,
    trade_id,
    whole,
)
from lake.feeds.slices import as_they_came

PAIR_PATTERN = re.compile(r"[A-Z0-9]{1,20}-[A-Z0-9]{1,10}", re.ASCII)
EXCHANGE_MAX = 9_999
CLOSE_MAX = 1_000_000
SIDES = {1: "sell", 2: "buy"}
INTERVALS = {"XA": "1m", "XAS": "1s"}


class MassiveCodec:
    """Decode Massive's frames; feed "sim" is the simulated exchange, which speaks the same."""

    version = 2
    ids_contiguous = False

    def __init__(self, feed: str = "massive") -> None:
        self.feed = feed

    def decode(self, frames: Frames, places: Iterable[int] | None = None) -> Decoded:
        """Return every event of frames (those at places), classed; never raises for a frame."""
        return decode_frames(frames, self.feed, self._events, places)

    def _events(self, raw: bytes, received_us: int) -> list[Event]:
        found = parsed(raw)
        if not isinstance(found, list):
            raise BadFrame("frame", f"is {type(found).__name__}, not an array", "not_an_array")
        if not found:
            return [Ignored("empty")]
        events = (
            checked(self._event, event, f"$[{index}]", received_us)
            for index, event in enumerate(found)
        )
        return as_they_came(events, raw)

    def _event(self, event: Mapping[str, Any], received_us: int) -> Event:
        kind = event.get("ev")
        if kind == "XT":
            return self._trade(event, received_us)
        if kind == "XQ":
            return self._quote(event, received_us)
        if kind == "status":
            return Ignored("status")
        if isinstance(kind, str) and kind in INTERVALS:
            return self._aggregate(event, received_us, INTERVALS[kind])
        raise BadFrame("ev", f"{str(kind)[:40]!r} is unknown", "unknown_event")

    def _shared(self, event: Mapping[str, Any]) -> dict[str, Any]:
        pair = symbol(event.get("pair"), "pair", PAIR_PATTERN)
        return {"ticker": f"X:{pair.replace('-', '')}", "market": "spot"}

    def _exchange(self, event: Mapping[str, Any]) -> str:
        x = whole(event.get("x"))
        if x is None or not 0 <= x <= EXCHANGE_MAX:
            raise BadFrame("x", f"{str(event.get('x'))[:40]!r} is no exchange id", "bad_exchange")
        return f"{self.feed}:{x}"

    def _trade(self, event: Mapping[str, Any], received_us: int) -> Row:
        side, conditions = _conditions(event.get("c"))
        return Row(
            "crypto_trades",
            {
                **self._shared(event),
                "exchange": self._exchange(event),
                "trade_id": trade_id(event.get("i"), "i"),
                "event_time": time_us(event.get("t"), "t", received_us),
                "price": decimals.positive(event.get("p"), "p", "price"),
                "size": decimals.positive(event.get("s"), "s", "size"),
                "side": side,
                "conditions": conditions,
            },
        )

    def _quote(self, event: Mapping[str, Any], received_us: int) -> Row:
        return Row(
            "crypto_quotes",
            {
                **self._shared(event),
                "exchange": self._exchange(event),
                "event_time": time_us(event.get("t"), "t", received_us),
                "event_time_source": "exchange",
                "bid_price": decimals.positive(event.get("bp"), "bp", "price"),
                "bid_size": decimals.not_negative(event.get("bs"), "bs", "size"),
                "ask_price": decimals.positive(event.get("ap"), "ap", "price"),
                "ask_size": decimals.not_negative(event.get("as"), "as", "size"),
            },
        )

    def _aggregate(self, event: Mapping[str, Any], received_us: int, interval: str) -> Row:
        values = {
            **self._shared(event),
            "exchange": self.feed,
            "event_time": time_us(event.get("s"), "s", received_us),
            "interval": interval,
            **{
                name: decimals.positive(event.get(name[0]), name[0], "price")
                for name in ("open", "high", "low", "close")
            },
            "volume": decimals.not_negative(event.get("v"), "v", "volume"),
            "vwap": _optional(event, "vw"),
            "average_trade_size": _optional(event, "z"),
        }
        if values["close"] > CLOSE_MAX:
            raise BadFrame("c", f"is {values['close']:f}", "close_out_of_range")
        inside = (values["open"], values["close"])
        if values["low"] > min(inside) or values["high"] < max(inside):
            raise BadFrame("h", "open or close lies outside low to high", "ohlc")
        return Row("crypto_aggregates", values)


def _optional(event: Mapping[str, Any], name: str) -> Any:
    value = event.get(name)
    return None if value is None else decimals.not_negative(value, name, "value")


def _conditions(codes: object) -> tuple[str | None, str | None]:
    """Return (side, the other codes): 0 is none, 1 the sell side, 2 the buy side."""
    if codes is None:
        return None, None
    listed = [whole(code) for code in (codes if isinstance(codes, list) else [codes])]
    if None in listed:
        raise BadFrame("c", "is no list of whole numbers", "bad_conditions")
    side = next((SIDES[code] for code in listed if code in SIDES), None)
    others = ",".join(str(code) for code in listed if code not in (0, *SIDES))
    return side, others or None

"""Kraken's sockets: version 2 (objects), and version 1 (arrays) as recordings have it.

Version 2 numbers trades per book without holes; version 1 gives no ids, so its trades have no key.
XBT is written BTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from lake.errors import BadFrame
from lake.feeds import decimals
from lake.feeds.codec import Decoded, Frames
from lake.feeds.events import (
    Bad,
    Event,
    Ignored,
    Row,
    bounded_time,
    checked,
    code,
    decode_frames,
    parsed,
    rfc3339_us,
    symbol,
    trade_id,
)
from lake.feeds.instrument_words import kraken_words
from lake.feeds.slices import as_they_came, whole_frame

SYMBOL = re.compile(r"[A-Z0-9]{1,20}/[A-Z0-9]{1,10}", re.ASCII)
SIDES = {"b": "buy", "s": "sell", "buy": "buy", "sell": "sell"}
SECONDS = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)
IGNORED = frozenset({"heartbeat", "status", "book", "ohlc", "level3"})
KINDS = IGNORED | {"systemStatus", "subscriptionStatus", "ticker", "spread", "pong"}


class KrakenCodec:
    """Decode Kraken's frames."""

    feed = "kraken"
    version = 2
    ids_contiguous = True

    def decode(self, frames: Frames) -> Decoded:
        """Return every event of frames, classed; never raises for what a frame contains."""
        return decode_frames(frames, self.feed, self._events)

    def _events(self, raw: bytes, received_us: int) -> list[Event]:
        found = parsed(raw)
        if isinstance(found, list):
            return self._version_1(found, raw, received_us)
        if not isinstance(found, dict):
            raise BadFrame("frame", f"is {type(found).__name__}", "not_an_object")
        return self._version_2(found, raw, received_us)

    def _version_2(self, frame: Mapping[str, Any], raw: bytes, received_us: int) -> list[Event]:
        channel = frame.get("channel")
        data = frame.get("data")
        if channel is None and ("method" in frame or "event" in frame):
            return [whole_frame(Ignored(_kind(frame.get("event"))), raw)]
        if channel == "instrument":
            return [whole_frame(Ignored(channel, kraken_words(frame)), raw)]
        if isinstance(channel, str) and channel in IGNORED:
            return [whole_frame(Ignored(channel), raw)]
        if channel not in ("trade", "ticker") or not isinstance(data, list) or not data:
            raise BadFrame("channel", f"{str(channel)[:40]!r} is unknown", "unknown_event")
        decode = self._trade if channel == "trade" else self._quote
        events = (
            checked(decode, event, f"$.data[{index}]", received_us)
            for index, event in enumerate(data)
        )
        return as_they_came(events, raw, "$.data", "data")

    def _trade(self, event: Mapping[str, Any], received_us: int) -> Row:
        side = SIDES.get(str(event.get("side")))
        if side is None:
            raise BadFrame("side", "is missing or unknown", "bad_side")
        identity = trade_id(event.get("trade_id"), "trade_id")
        if identity is None:
            raise BadFrame("trade_id", "is missing", "missing_field")
        kind = event.get("ord_type")
        return Row(
            "crypto_trades",
            {
                **_shared(event.get("symbol")),
                "trade_id": identity,
                "event_time": rfc3339_us(event.get("timestamp"), "timestamp", received_us),
                "price": decimals.positive(event.get("price"), "price", "price"),
                "size": decimals.positive(event.get("qty"), "qty", "size"),
                "side": side,
                "conditions": None if kind is None else code(kind, "ord_type"),
            },
        )

    def _quote(self, event: Mapping[str, Any], received_us: int) -> Row:
        given = event.get("timestamp")
        at = received_us if given is None else rfc3339_us(given, "timestamp", received_us)
        return Row(
            "crypto_quotes",
            {
                **_shared(event.get("symbol")),
                "event_time": at,
                "event_time_source": "received" if given is None else "exchange",
                "bid_price": decimals.positive(event.get("bid"), "bid", "price"),
                "bid_size": decimals.not_negative(event.get("bid_qty"), "bid_qty", "size"),
                "ask_price": decimals.positive(event.get("ask"), "ask", "price"),
                "ask_size": decimals.not_negative(event.get("ask_qty"), "ask_qty", "size"),
            },
        )

    def _version_1(self, frame: list[Any], raw: bytes, received_us: int) -> list[Event]:
        """Decode [channelID, data, ..., channelName, pair]."""
        if len(frame) < 4 or not isinstance(frame[-2], str):
            raise BadFrame("frame", "is no array of version 1", "unknown_event")
        channel, pair = frame[-2].partition("-")[0], frame[-1]
        if channel != "trade":
            return [whole_frame(Ignored(_kind(channel)), raw)]
        if not isinstance(frame[1], list) or not frame[1]:
            raise BadFrame("[1]", "is no list of trades", "not_an_array")
        events = (
            _trade_1(entry, pair, received_us, f"$[1][{index}]")
            for index, entry in enumerate(frame[1])
        )
        return as_they_came(events, raw, "$[1]", 1)


def _trade_1(entry: object, pair: object, received_us: int, path: str) -> Event:
    """Decode [price, volume, time, side, order type, misc], every one a string."""
    try:
        if not isinstance(entry, list) or len(entry) < 4:
            raise BadFrame("", "entry is no trade of version 1", "not_an_object")
        side = SIDES.get(str(entry[3]))
        if side is None:
            raise BadFrame("[3]", "is neither b nor s", "bad_side")
        return Row(
            "crypto_trades",
            {
                **_shared(pair),
                "event_time": bounded_time(_seconds_us(entry[2]), "[2]", received_us),
                "price": decimals.positive(entry[0], "[0]", "price"),
                "size": decimals.positive(entry[1], "[1]", "size"),
                "side": side,
            },
        )
    except BadFrame as error:
        detail = f"{error.thing or 'entry'}: {error.fault}"
        within = f".{error.thing}" if error.thing.isalpha() else error.thing
        return Bad(error.remedy, detail, f"{path}{within}")


def _seconds_us(text: object) -> int:
    if not isinstance(text, str) or not SECONDS.fullmatch(text):
        raise BadFrame("[2]", f"{str(text)[:40]!r} is no time", "bad_time")
    return int(Decimal(text) * 1_000_000)


def _kind(name: object) -> str:
    """Return the name of something ignored; names that we don't know share one."""
    return name if isinstance(name, str) and name in KINDS else "reply"


def _shared(pair: object) -> dict[str, Any]:
    base, _, quote = symbol(pair, "symbol", SYMBOL).partition("/")
    names = ["BTC" if name == "XBT" else name for name in (base, quote)]
    return {"ticker": f"X:{''.join(names)}", "exchange": "kraken", "market": "spot"}

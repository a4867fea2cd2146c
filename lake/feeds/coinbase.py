"""Coinbase Exchange: matches, best quotes, heartbeats; prices are strings, times RFC 3339.

`trade_id` is contiguous per product; `sequence` counts the product's full channel, so a client of
matches alone sees holes in it. `side` is the maker's: the aggressor took the other one.
`last_match` repeats the trade before the subscription.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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
    rfc3339_us,
    symbol,
    trade_id,
)
from lake.feeds.instrument_words import coinbase_words
from lake.feeds.slices import whole_frame

PRODUCT = re.compile(r"[A-Z0-9]{1,20}-[A-Z0-9]{1,10}", re.ASCII)
AGGRESSOR = {"buy": "sell", "sell": "buy"}
IGNORED = frozenset(
    {"subscriptions", "heartbeat", "snapshot", "l2update", "received", "open", "done", "change"}
    | {"activate", "error"}
)


class CoinbaseCodec:
    """Decode Coinbase's frames."""

    feed = "coinbase"
    version = 1
    ids_contiguous = True

    def decode(self, frames: Frames) -> Decoded:
        """Return every event of frames, classed; never raises for what a frame contains."""
        return decode_frames(frames, self.feed, self._events)

    def _events(self, raw: bytes, received_us: int) -> list[Event]:
        return [whole_frame(checked(self._event, parsed(raw), "$", received_us), raw)]

    def _event(self, event: Mapping[str, Any], received_us: int) -> Event:
        kind = event.get("type")
        if kind in ("match", "last_match"):
            return self._trade(event, received_us)
        if kind == "ticker":
            return self._quote(event, received_us)
        if kind == "status":
            return Ignored(kind, coinbase_words(event))
        if isinstance(kind, str) and kind in IGNORED:
            return Ignored(kind)
        raise BadFrame("type", f"{str(kind)[:40]!r} is unknown", "unknown_event")

    def _shared(self, event: Mapping[str, Any]) -> dict[str, Any]:
        product = symbol(event.get("product_id"), "product_id", PRODUCT)
        return {
            "ticker": f"X:{product.replace('-', '')}",
            "exchange": self.feed,
            "market": "spot",
        }

    def _trade(self, event: Mapping[str, Any], received_us: int) -> Row:
        side = AGGRESSOR.get(str(event.get("side")))
        identity = trade_id(event.get("trade_id"), "trade_id")
        if side is None or identity is None:
            raise BadFrame("side" if side is None else "trade_id", "is missing", "missing_field")
        return Row(
            "crypto_trades",
            {
                **self._shared(event),
                "trade_id": identity,
                "event_time": rfc3339_us(event.get("time"), "time", received_us),
                "price": decimals.positive(event.get("price"), "price", "price"),
                "size": decimals.positive(event.get("size"), "size", "size"),
                "side": side,
            },
        )

    def _quote(self, event: Mapping[str, Any], received_us: int) -> Event:
        sizes = (event.get("best_bid_size"), event.get("best_ask_size"))
        if None in sizes or event.get("time") is None:
            return Ignored("ticker")
        return Row(
            "crypto_quotes",
            {
                **self._shared(event),
                "event_time": rfc3339_us(event.get("time"), "time", received_us),
                "event_time_source": "exchange",
                "bid_price": decimals.positive(event.get("best_bid"), "best_bid", "price"),
                "bid_size": decimals.not_negative(sizes[0], "best_bid_size", "size"),
                "ask_price": decimals.positive(event.get("best_ask"), "best_ask", "price"),
                "ask_size": decimals.not_negative(sizes[1], "best_ask_size", "size"),
                "venue_sequence": _sequence(event.get("sequence")),
            },
        )


def _sequence(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 2**63 else None

"""Massive (formerly Polygon.io): /v3/trades by nanoseconds, /v2/aggs by milliseconds.

An answer names the next one (`next_url`), of which only path and question are used: the key goes to
no other host. Tickers are X:BTCUSD in aggregates and X:BTC-USD in trades, ids are texts of the
numbers that the socket sends. Aggregates are of all venues together, as on the socket.
https://massive.com/docs/rest/crypto/trades-quotes/trades
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from lake.clock import Clock
from lake.errors import BadFrame, Unavailable, WrongUse
from lake.feeds import decimals
from lake.feeds.events import trade_id
from lake.feeds.instrument import split_pair
from lake.feeds.massive import SIDES
from lake.history.page import Page, Span, last_us, page_of, within
from lake.history.web import Web

URL = "https://api.massive.com"
PAUSE_S = 0.05
ROWS_MAX = 50_000
PAGES_MAX = 1_000_000


class MassiveHistory:
    """Trades and minute aggregates."""

    exchange = "massive"
    datasets: tuple[str, ...] = ("crypto_trades", "crypto_aggregates")

    def __init__(
        self, clock: Clock, url: str = "", key: str = "", pause_s: float = PAUSE_S
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.web = Web(url or URL, clock, pause_s=pause_s, headers=headers)

    def feed(self, market: str) -> str:
        """Return the feed of its claims."""
        if market != "spot":
            raise WrongUse(f"--market {market}", "massive has spot only", "leave it out")
        return "massive"

    def close(self) -> None:
        """Close the connections."""
        self.web.close()

    def pages(self, span: Span) -> Iterator[Page]:
        """Yield a span's rows, oldest first."""
        shared = {"ticker": span.ticker, "market": "spot"}
        base, quote = split_pair(span.ticker)
        params: dict[str, Any]
        if span.dataset == "crypto_trades":
            path, read = f"/v3/trades/X:{base}-{quote}", _trade
            params = {"timestamp.gte": span.from_us * 1_000, "timestamp.lt": span.to_us * 1_000}
            params |= {"order": "asc", "sort": "timestamp", "limit": ROWS_MAX}
        else:
            first, last = span.from_us // 1_000, span.to_us // 1_000 - 1
            path, read = f"/v2/aggs/ticker/X:{base}{quote}/range/1/minute/{first}/{last}", _bar
            params = {"sort": "asc", "limit": ROWS_MAX}
        through_us = span.from_us
        for _ in range(PAGES_MAX):
            body = self.web.get(path, params).body
            answer = body.get("results") or []
            page = page_of(span, answer, read, shared, f"{self.web.url}{path.partition('?')[0]}")
            following = body.get("next_url")
            through_us = (last_us(page) or through_us) if following else span.to_us
            yield within(page, span, through_us)
            if not following:
                return
            parts = urlsplit(str(following))
            path, params = f"{parts.path}?{parts.query}", {}
        raise Unavailable(f"{self.web.url}{path}", f"{PAGES_MAX:,} pages", "ask for less at once")


def _trade(each: Mapping[str, Any]) -> Mapping[str, Any]:
    codes = each.get("conditions") or []
    if not all(isinstance(code, int) for code in codes):
        raise BadFrame("conditions", "is no list of whole numbers", "bad_conditions")
    others = ",".join(str(code) for code in codes if code not in (0, *SIDES))
    return {
        "exchange": f"massive:{int(each['exchange'])}",
        "trade_id": trade_id(each.get("id"), "id"),
        "event_time": int(each["participant_timestamp"]) // 1_000,
        "price": decimals.positive(each["price"], "price", "price"),
        "size": decimals.positive(each["size"], "size", "size"),
        "side": next((SIDES[code] for code in codes if code in SIDES), None),
        "conditions": others or None,
    }


def _bar(each: Mapping[str, Any]) -> Mapping[str, Any]:
    names = {"open": "o", "high": "h", "low": "l", "close": "c"}
    vwap = each.get("vw")
    return {
        "exchange": "massive",
        "event_time": int(each["t"]) * 1_000,
        "interval": "1m",
        **{name: decimals.positive(each[key], key, "price") for name, key in names.items()},
        "volume": decimals.not_negative(each["v"], "v", "volume"),
        "vwap": None if vwap is None else Decimal(str(vwap)).quantize(decimals.QUANTUM),
    }

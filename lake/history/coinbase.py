"""Coinbase Exchange: /products/P/trades by trade id, /products/P/candles by time.

Trades are paged by id only, newest first; `after=N` gives those below N. So the first id of a time
is looked for by halving, and pages are then read upwards, which a later run can go on with. `side`
is the maker's, as on the socket. Public limit: 10 requests/s.
https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-trades
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lake.clock import Clock
from lake.errors import BadFrame, WrongUse
from lake.feeds import decimals
from lake.feeds.coinbase import AGGRESSOR
from lake.feeds.events import rfc3339_us, trade_id
from lake.feeds.instrument import venue_symbols
from lake.history.page import Page, Span, last_us, page_of, within
from lake.history.web import Web

URL = "https://api.exchange.coinbase.com"
PAUSE_S = 0.12
TRADES_MAX = 1_000
CANDLES_MAX = 300
MINUTE_US = 60_000_000


class CoinbaseHistory:
    """Trades and minute candles."""

    exchange = "coinbase"
    datasets: tuple[str, ...] = ("crypto_trades", "crypto_aggregates")

    def __init__(self, clock: Clock, url: str = "", pause_s: float = PAUSE_S) -> None:
        self.web = Web(url or URL, clock, pause_s=pause_s)

    def feed(self, market: str) -> str:
        """Return the feed of its claims."""
        if market != "spot":
            raise WrongUse(f"--market {market}", "coinbase has spot only", "leave it out")
        return "coinbase"

    def close(self) -> None:
        """Close the connections."""
        self.web.close()

    def pages(self, span: Span) -> Iterator[Page]:
        """Yield a span's rows, oldest first."""
        product = venue_symbols("coinbase", [span.ticker])[0]
        shared = {"ticker": span.ticker, "exchange": self.exchange, "market": "spot"}
        if span.dataset == "crypto_trades":
            yield from self._trades(span, f"/products/{product}/trades", shared)
        else:
            yield from self._candles(span, f"/products/{product}/candles", shared)

    def _trades(self, span: Span, path: str, shared: Mapping[str, Any]) -> Iterator[Page]:
        newest = self._ids(path, None)
        if newest is None:
            return
        first, through_us = self._first_id(path, span.from_us, newest[0]), span.from_us
        while first <= newest[0]:
            upto = first + TRADES_MAX
            answer = self.web.get(path, {"limit": TRADES_MAX, "after": upto}).body
            answer = [each for each in reversed(answer) if int(each["trade_id"]) >= first]
            page = page_of(span, answer, _trade, shared, f"{self.web.url}{path}")
            through_us = span.to_us if upto > newest[0] else last_us(page) or through_us
            yield within(page, span, through_us)
            if through_us >= span.to_us:
                return
            first = upto

    def _ids(self, path: str, below: int | None) -> tuple[int, int] | None:
        """Return the id and the time of the newest trade (below an id); None if there is none."""
        params = {"limit": 1} if below is None else {"limit": 1, "after": below}
        found = self.web.get(path, params).body
        if not found:
            return None
        return int(found[0]["trade_id"]), rfc3339_us(found[0]["time"], "time", 0)

    def _first_id(self, path: str, from_us: int, newest: int) -> int:
        """Return an id at or below the first trade at or after a time, close to it."""
        low, high = 1, newest + 1
        while high - low > TRADES_MAX:
            middle = (low + high) // 2
            found = self._ids(path, middle + 1)
            if found is None or found[1] < from_us:
                low = middle
            else:
                high = middle
        return low

    def _candles(self, span: Span, path: str, shared: Mapping[str, Any]) -> Iterator[Page]:
        step_us = CANDLES_MAX * MINUTE_US
        for at_us in range(span.from_us, span.to_us, step_us):
            upto_us = min(span.to_us, at_us + step_us)
            params = {"granularity": 60, "start": at_us // 1_000_000, "end": upto_us // 1_000_000}
            answer = sorted(self.web.get(path, params).body, key=lambda each: int(each[0]))
            page = page_of(span, answer, _candle, shared, f"{self.web.url}{path}")
            yield within(page, span, upto_us)


def _trade(each: Mapping[str, Any]) -> Mapping[str, Any]:
    side = AGGRESSOR.get(str(each["side"]))
    if side is None:
        raise BadFrame("side", f"{str(each['side'])[:40]!r} is unknown", "bad_side")
    return {
        "trade_id": trade_id(each["trade_id"], "trade_id"),
        "event_time": rfc3339_us(each["time"], "time", 0),
        "price": decimals.positive(each["price"], "price", "price"),
        "size": decimals.positive(each["size"], "size", "size"),
        "side": side,
    }


def _candle(each: Any) -> Mapping[str, Any]:
    at_s, low, high, first, last, volume = each
    names = {"open": first, "high": high, "low": low, "close": last}
    return {
        "event_time": int(at_s) * 1_000_000,
        "interval": "1m",
        **{name: decimals.positive(value, name, "price") for name, value in names.items()},
        "volume": decimals.not_negative(volume, "volume", "volume"),
    }

"""Binance spot, USD-M and COIN-M: trades by id, minute klines by time.

`historicalTrades` goes by trade id; the first id of a time comes from `aggTrades`, which goes by
time and names the ids that it adds up. Insurance fund prints are in no answer of Binance's, as they
are in no kline. Where the venue asks for a key, TICKLAKE_BINANCE_API_KEY is sent.
https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lake.clock import Clock
from lake.errors import BadFrame, WrongUse
from lake.feeds import decimals
from lake.feeds.binance import MICROSECONDS_FROM
from lake.feeds.events import trade_id
from lake.history.page import Page, Span, last_us, page_of, within
from lake.history.web import Web

MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Market:
    """Where a market's API is, its most trades a request, and a pause that keeps its weights."""

    url: str
    root: str
    trades_max: int
    klines_max: int
    pause_s: float


MARKETS = {
    "spot": Market("https://api.binance.com", "/api/v3", 1_000, 1_000, 0.26),
    "usdm": Market("https://fapi.binance.com", "/fapi/v1", 500, 1_500, 0.52),
    "coinm": Market("https://dapi.binance.com", "/dapi/v1", 500, 1_500, 0.52),
}


class BinanceHistory:
    """Trades and minute klines of one market."""

    exchange = "binance"
    datasets: tuple[str, ...] = ("crypto_trades", "crypto_aggregates")

    def __init__(
        self, market: str, clock: Clock, url: str = "", key: str = "", pause_s: float | None = None
    ) -> None:
        if market not in MARKETS:
            raise WrongUse(f"--market {market}", "is unknown", f"one of {', '.join(MARKETS)}")
        self._of = MARKETS[market]
        pause_s = self._of.pause_s if pause_s is None else pause_s
        headers = {"X-MBX-APIKEY": key} if key else {}
        self.web = Web(url or self._of.url, clock, pause_s=pause_s, headers=headers)

    def feed(self, market: str) -> str:
        """Return the feed of its claims."""
        return f"binance.{market}"

    def close(self) -> None:
        """Close the connections."""
        self.web.close()

    def pages(self, span: Span) -> Iterator[Page]:
        """Yield a span's rows, oldest first."""
        symbol = span.ticker.removeprefix("X:")
        shared = {"ticker": span.ticker, "exchange": self.exchange, "market": span.market}
        if span.dataset == "crypto_trades":
            yield from self._trades(span, symbol, shared)
        else:
            yield from self._klines(span, symbol, shared)

    def _trades(self, span: Span, symbol: str, shared: Mapping[str, Any]) -> Iterator[Page]:
        path = f"{self._of.root}/historicalTrades"
        at, through_us = self._first_id(symbol, span.from_us), span.from_us
        while at is not None:
            params = {"symbol": symbol, "limit": self._of.trades_max, "fromId": at}
            answer = self.web.get(path, params).body
            page = page_of(span, answer, _trade, shared, f"{self.web.url} {symbol}")
            # A page of which nothing could be read says nothing of how far it reaches.
            through_us = (last_us(page) or through_us) if answer else span.to_us
            yield within(page, span, through_us)
            if through_us >= span.to_us:
                return
            at = max([at + len(answer), *(number + 1 for number in map(_id, answer))])

    def _first_id(self, symbol: str, from_us: int) -> int | None:
        params = {"symbol": symbol, "startTime": from_us // 1_000, "limit": 1}
        found = self.web.get(f"{self._of.root}/aggTrades", params).body
        return int(found[0]["f"]) if found else None

    def _klines(self, span: Span, symbol: str, shared: Mapping[str, Any]) -> Iterator[Page]:
        step_us = self._of.klines_max * MINUTE_US
        for at_us in range(span.from_us, span.to_us, step_us):
            upto_us = min(span.to_us, at_us + step_us)
            params = {
                "symbol": symbol,
                "interval": "1m",
                "startTime": at_us // 1_000,
                "endTime": upto_us // 1_000 - 1,
                "limit": self._of.klines_max,
            }
            answer = self.web.get(f"{self._of.root}/klines", params).body
            page = page_of(span, answer, kline_row, shared, f"{self.web.url} {symbol}")
            yield within(page, span, upto_us)


def micros(value: object) -> int:
    """Return a time of Binance's, in milliseconds or (16 digits) microseconds, as microseconds."""
    number = int(str(value))
    return number if number >= MICROSECONDS_FROM else number * 1_000


def _id(each: Any) -> int:
    """Return a trade's id, 0 where it has none: ids rise by one from trade to trade."""
    try:
        return int(each["id"])
    except (KeyError, TypeError, ValueError):
        return 0


def _trade(each: Mapping[str, Any]) -> Mapping[str, Any]:
    maker_bought = each["isBuyerMaker"]
    if not isinstance(maker_bought, bool):
        raise BadFrame("isBuyerMaker", "is not true or false", "bad_side")
    return {
        "trade_id": trade_id(each["id"], "id"),
        "event_time": micros(each["time"]),
        "price": decimals.positive(each["price"], "price", "price"),
        "size": decimals.positive(each["qty"], "qty", "size"),
        "side": "sell" if maker_bought else "buy",
    }


def kline_row(each: Any) -> Mapping[str, Any] | None:
    """Return one kline; None for a minute in which nothing was traded."""
    at, first, high, low, last, volume, _, worth, count, *_ = each
    if not int(count):
        return None
    amount = decimals.positive(volume, "volume", "volume")
    average = decimals.exact(worth, "quote volume") / amount
    names = {"open": first, "high": high, "low": low, "close": last}
    return {
        "event_time": micros(at),
        "interval": "1m",
        **{name: decimals.positive(value, name, "price") for name, value in names.items()},
        "volume": amount,
        "vwap": average.quantize(decimals.QUANTUM),
        "average_trade_size": (amount / int(count)).quantize(decimals.QUANTUM),
    }

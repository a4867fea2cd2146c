"""Kraken: /0/public/Trades by nanoseconds, oldest first; every answer says where to go on.

The next question overlaps the last by a nanosecond and what came twice is left out, so that trades
of one instant are not cut in two by a page's end. Trades older than ids carry none (before 2023 in
answers of that time); such an answer is refused. Errors come with status 200.
https://docs.kraken.com/api/docs/rest-api/get-recent-trades
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from lake.clock import Clock
from lake.errors import BadFrame, Refused, Unavailable, WrongUse
from lake.feeds import decimals
from lake.feeds.events import trade_id
from lake.feeds.instrument import split_pair
from lake.history.page import Page, Span, page_of, within
from lake.history.web import Busy, Reply, Web

URL = "https://api.kraken.com"
PAUSE_S = 1.1
TRADES_MAX = 1_000
PAGES_MAX = 1_000_000
OTHER_NAMES = {"BTC": "XBT", "DOGE": "XDG"}
SIDES = {"b": "buy", "s": "sell"}
KINDS = {"m": "market", "l": "limit"}
BUSY_WORDS = ("Too many requests", "Rate limit", "EService", "Throttled")


class KrakenHistory:
    """Trades."""

    exchange = "kraken"
    datasets: tuple[str, ...] = ("crypto_trades",)

    def __init__(self, clock: Clock, url: str = "", pause_s: float = PAUSE_S) -> None:
        self.web = Web(url or URL, clock, pause_s=pause_s)

    def feed(self, market: str) -> str:
        """Return the feed of its claims."""
        if market != "spot":
            raise WrongUse(f"--market {market}", "kraken has spot only", "leave it out")
        return "kraken"

    def close(self) -> None:
        """Close the connections."""
        self.web.close()

    def pages(self, span: Span) -> Iterator[Page]:
        """Yield a span's trades, oldest first."""
        base, quote = split_pair(span.ticker)
        pair = "".join(OTHER_NAMES.get(name, name) for name in (base, quote))
        shared = {"ticker": span.ticker, "exchange": self.exchange, "market": "spot"}
        since_ns, known = span.from_us * 1_000 - 1, 0
        for _ in range(PAGES_MAX):
            params = {"pair": pair, "since": since_ns, "count": TRADES_MAX}
            trades, last_ns = self.web.get("/0/public/Trades", params, _read)
            ids = [_id(each) for each in trades]
            fresh = [each for each, number in zip(trades, ids, strict=True)
                     if number is None or number > known]  # fmt: skip
            page = page_of(span, fresh, _trade, shared, f"{self.web.url} {pair}")
            ended = len(trades) < TRADES_MAX
            yield within(page, span, span.to_us if ended else last_ns // 1_000)
            if ended or last_ns // 1_000 >= span.to_us:
                return
            known = max([known, *(number for number in ids if number is not None)])
            since_ns = last_ns - 1 if last_ns - 1 > since_ns else last_ns
        raise Unavailable(f"{self.web.url} {pair}", f"{PAGES_MAX:,} pages", "ask for less at once")


def _read(reply: Reply) -> tuple[list[Any], int]:
    """Return an answer's trades and its `last`; raises Busy, Refused, ValueError."""
    body = reply.body
    faults = [str(each) for each in body.get("error", [])]
    if any(word in fault for word in BUSY_WORDS for fault in faults):
        raise Busy(", ".join(faults))
    if faults:
        raise Refused("kraken", ", ".join(faults), "check the ticker")
    result = dict(body["result"])
    last_ns = int(result.pop("last"))
    [trades] = result.values()
    return trades, last_ns


def _id(each: Any) -> int | None:
    """Return a trade's id; None where it has none, or none that is a number."""
    try:
        return int(each[6])
    except (IndexError, KeyError, TypeError, ValueError):
        return None


def _trade(each: Any) -> Mapping[str, Any]:
    if len(each) < 7:
        raise BadFrame("[6]", "trade has no id", "missing_field")
    price, size, at_s, side, kind, _, number = each
    if side not in SIDES:
        raise BadFrame("[3]", f"{str(side)[:40]!r} is neither b nor s", "bad_side")
    return {
        "trade_id": trade_id(number, "[6]"),
        "event_time": int(Decimal(str(at_s)) * 1_000_000),
        "price": decimals.positive(price, "[0]", "price"),
        "size": decimals.positive(size, "[1]", "size"),
        "side": SIDES[side],
        "conditions": KINDS.get(kind),
    }

"""Spelling of tickers: the warehouse's, and each venue's."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lake.errors import WrongUse

PAIR = re.compile(r"(?:X:)?([A-Z0-9]{1,20})[-/]([A-Z0-9]{2,10})", re.ASCII)
QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USD", "EUR", "GBP", "BTC", "ETH", "BNB", "JPY")
"""Quote currencies by which an unseparated symbol is split, longest match first."""

OTHER_NAMES = {"XBT": "BTC"}


def split_pair(text: str) -> tuple[str, str]:
    """Return (base, quote) of X:BTCUSD, BTC-USD, BTC/USD or BTCUSD; XBT is BTC. Raises WrongUse."""
    base, quote = _split(text)
    return OTHER_NAMES.get(base, base), OTHER_NAMES.get(quote, quote)


def _split(text: str) -> tuple[str, str]:
    spelled = text.strip().upper()
    found = PAIR.fullmatch(spelled)
    if found:
        return found[1], found[2]
    joined = spelled.removeprefix("X:")
    for quote in sorted(QUOTES, key=len, reverse=True):
        base = joined.removesuffix(quote)
        if base != joined and re.fullmatch(r"[A-Z0-9]{1,20}", base, re.ASCII):
            return base, quote
    raise WrongUse(f"ticker {text!r}", "is not spelled like one", "write X:BTCUSD or BTC-USD")


def warehouse_ticker(text: str) -> str:
    """Return X:BTCUSD, as the old system wrote it."""
    base, quote = split_pair(text)
    return f"X:{base}{quote}"


def venue_symbols(feed: str, tickers: Sequence[str]) -> list[str]:
    """Return the tickers as the venue spells them, each once. Raises WrongUse."""
    pairs = dict.fromkeys(split_pair(ticker) for ticker in tickers)
    if feed == "binance":
        return [f"{base}{quote}".lower() for base, quote in pairs]
    joiner = "/" if feed == "kraken" else "-"
    return [f"{base}{joiner}{quote}" for base, quote in pairs]


def venue_symbol(venue: str, ticker: str) -> str:
    """Return X:BTCUSD as the venue spells it; venue as in crypto_trades.exchange, sim:1 too.

    A ticker that can't be taken apart stays whole.
    """
    feed = venue.partition(":")[0]
    if feed == "binance":
        return ticker.removeprefix("X:")
    try:
        return venue_symbols(feed, [ticker])[0]
    except WrongUse:
        return ticker.removeprefix("X:")

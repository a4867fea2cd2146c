"""What a ticker is a pair of: an asset, and the currency that its price is in.

Tickers have no hyphen, so the currency is told by its name at the end; no name here is another's
end. What follows an underscore is the venue's kind of contract.
"""

from __future__ import annotations

import re

PRICED_IN = ("USD", "USDT", "USDC", "EUR", "GBP", "JPY", "BTC", "ETH")
"""Currencies that are known; a ticker in another has no asset here."""

REFERENCE = "BTC"
"""The asset that others are held against."""

PAIR = rf"^X:(.+)({'|'.join(PRICED_IN)})(_[A-Z0-9]+)?$"
"""For Python and for RE2, which DuckDB has."""


def asset_of(ticker: str) -> str | None:
    """Return the asset that a ticker is of, BTC of X:BTCUSD; None in an unknown currency."""
    found = re.match(PAIR, ticker)
    return found[1] if found else None


def reference_of(ticker: str) -> str | None:
    """Return the reference's ticker in the same currency; None in an unknown one."""
    found = re.match(PAIR, ticker)
    return f"X:{REFERENCE}{found[2]}{found[3] or ''}" if found else None

"""One of several ingests' share of the tickers, by their hash: no two have one in common."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from lake.errors import WrongUse
from lake.feeds.instrument import warehouse_ticker

SHARES_MAX = 64


def share_of(tickers: Sequence[str], share: str) -> tuple[str, ...]:
    """Return the tickers of a share, written I/N: the I-th (from 0) of N.

    With one share more, only tickers that the new one gets change hands. Raises WrongUse for
    what is no share, and for one that has no ticker.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", share)
    number, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not number < count <= SHARES_MAX:
        raise WrongUse(f"--share {share}", "is no share", f"0/2 and 1/2; {SHARES_MAX} at most")
    ours = tuple(each for each in tickers if _owner(warehouse_ticker(each), count) == number)
    if not ours:
        raise WrongUse(
            f"--share {share}",
            f"has none of {len(tickers)} tickers",
            "use fewer shares, or name more with --tickers",
        )
    return ours


def _owner(ticker: str, count: int) -> int:
    """Return whose it is: the share whose hash with it is the largest."""
    return max(range(count), key=lambda number: _weight(ticker, number))


def _weight(ticker: str, number: int) -> bytes:
    return hashlib.blake2b(f"{ticker}|{number}".encode(), digest_size=8).digest()

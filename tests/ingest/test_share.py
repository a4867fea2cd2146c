"""Shares of tickers: every ticker is in one, and few move when one is added."""

from __future__ import annotations

import pytest

from lake.errors import WrongUse
from lake.ingest.share import share_of

TICKERS = [f"C{number}-USD" for number in range(200)]


def owners(count: int) -> dict[str, int]:
    """Return ticker -> share, of so many shares."""
    return {
        ticker: number
        for number in range(count)
        for ticker in share_of(TICKERS, f"{number}/{count}")
    }


@pytest.mark.parametrize("count", range(1, 9))
def test_every_ticker_is_in_one_share_and_only_the_new_one_s_change_hands(count: int) -> None:
    before, after = owners(count), owners(count + 1)
    shares = [share_of(TICKERS, f"{number}/{count}") for number in range(count)]
    assert sorted(ticker for share in shares for ticker in share) == sorted(TICKERS)
    moved = {ticker for ticker in TICKERS if before[ticker] != after[ticker]}
    assert {after[ticker] for ticker in moved} <= {count}


def test_a_ticker_s_spelling_does_not_matter() -> None:
    assert owners(7)["C3-USD"] == next(
        number for number in range(7) if "X:C3USD" in _shared("X:C3USD", number)
    )


def _shared(ticker: str, number: int) -> tuple[str, ...]:
    return share_of([ticker, *TICKERS], f"{number}/7")


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "0/0", "0/65", "a/b", "1/2/3"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(WrongUse, match="is no share"):
        share_of(TICKERS, text)


def test_a_share_without_a_ticker_is_refused() -> None:
    empty = next(number for number in range(2) if "BTC-USD" not in _try(number))
    with pytest.raises(WrongUse, match="has none of 1 tickers"):
        share_of(["BTC-USD"], f"{empty}/2")


def _try(number: int) -> tuple[str, ...]:
    try:
        return share_of(["BTC-USD"], f"{number}/2")
    except WrongUse:
        return ()

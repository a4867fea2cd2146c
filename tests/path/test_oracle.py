"""The oracle of the path's tests: what it tells apart, so as to find loss where there is some."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tests.path.market import Key, missing, within

MS = 1_000
BID, BIGGER = 1_000_000, 2_000_000


def quote(at_ms: int, size: int = BID) -> Key:
    """Return a quote's key; its price never changes."""
    return ("X:BTCUSD", "sim:1", None, at_ms * MS, BID, size)


def log(*events: Key) -> pl.DataFrame:
    """Return a truth log of events, each sent 10 ms after the one before."""
    names = ("ticker", "exchange", "trade_id", "event_us", "price", "size")
    frame = pl.DataFrame(events, schema=dict(zip(names, _TYPES, strict=True)), orient="row")
    return frame.with_row_index("place").with_columns(
        trade=pl.col("trade_id").is_not_null(), sent_us=pl.col("place").cast(pl.Int64) * 10 * MS
    )


def gone(sent: Sequence[Key], held: Sequence[Key]) -> list[int]:
    """Return the places of what is missing."""
    return missing(log(*sent), log(*held))["place"].to_list()


def test_a_quote_of_before_is_not_taken_for_one_of_the_same_millisecond_that_was_heard() -> None:
    before, other, after = quote(7, BIGGER), quote(8), quote(7)
    assert gone([before, other, after, quote(9)], [other, after, quote(9)]) == []


def test_what_is_missing_between_first_and_last_is_found_and_the_edges_are_not() -> None:
    sent = [quote(at) for at in range(6)]
    assert gone(sent, [sent[1], sent[4]]) == [2, 3]


def test_a_gap_excuses_what_was_sent_within_it_and_an_open_one_all_that_follows() -> None:
    sent = log(*(quote(at) for at in range(6)))
    closed = {"gap_from": 20 * MS, "gap_to": 30 * MS}
    assert within(sent, [closed], 0).to_list() == [False, False, True, True, False, False]
    assert within(sent, [{**closed, "gap_to": None}], 0).to_list() == [False] * 2 + [True] * 4


_TYPES = (pl.String, pl.String, pl.String, pl.Int64, pl.Int64, pl.Int64)

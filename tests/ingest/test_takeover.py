"""Quotes without an id, where one connection takes over from another: none twice, none dropped."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.feeds.kraken import KrakenCodec
from lake.ingest import batch, keyless, redelivery
from lake.ingest.control import GapClosed, Started, Up
from tests.ingest.shard import NOW_US, Shard, gap

A, B = 0, 1


@pytest.fixture
def shard() -> Shard:
    """Return a shard with two connections up, of which A was first and so would speak."""
    shard = Shard()
    shard.notes(Started(NOW_US), Up(A, NOW_US), Up(B, NOW_US))
    return shard


def test_what_another_had_already_before_the_gap_was_noticed_is_not_dropped(shard: Shard) -> None:
    shard.quotes(1.0, A, B)
    shard.quotes(2.0, B)  # A has fallen silent, which nobody knows yet
    shard.quotes(3.0, B)
    shard.notes(gap(A))
    shard.quotes(4.0, B)
    assert shard.taken == [1.0, 2.0, 3.0, 4.0]


def test_what_another_says_late_after_the_takeover_is_not_doubled(shard: Shard) -> None:
    shard.quotes(1.0, A)
    shard.quotes(2.0, A)
    shard.notes(gap(A))
    shard.quotes(1.0, B)  # B lags behind
    shard.quotes(2.0, B)
    shard.quotes(3.0, B)
    assert shard.taken == [1.0, 2.0, 3.0]


def test_a_connection_that_comes_back_is_believed_at_once_and_repeats_nothing(shard: Shard) -> None:
    shard.quotes(1.0, A, B)
    shard.notes(gap(A))
    shard.quotes(2.0, B)
    shard.notes(Up(A, NOW_US), GapClosed(4, NOW_US, NOW_US))
    shard.quotes(3.0, A, B)
    shard.notes(gap(B))
    shard.quotes(4.0, A)
    assert shard.taken == [1.0, 2.0, 3.0, 4.0]


def test_the_same_quote_that_truly_came_twice_is_stored_twice(shard: Shard) -> None:
    shard.quotes(1.0, A, A, B, B)
    shard.notes(gap(A))
    shard.quotes(1.0, B)
    assert shard.taken == [1.0, 1.0, 1.0]


def test_one_connection_alone_is_not_compared_with_itself() -> None:
    shard = Shard()
    shard.notes(Started(NOW_US), Up(A, NOW_US))
    shard.quotes(1.0, A, A)
    shard.notes(gap(A), Up(A, NOW_US))
    shard.quotes(1.0, A)
    assert shard.taken == [1.0, 1.0, 1.0]


def test_a_second_connection_is_compared_with_what_came_before_it() -> None:
    shard = Shard()
    shard.notes(Started(NOW_US), Up(A, NOW_US))
    shard.quotes(1.0, A)
    shard.notes(Up(B, NOW_US))
    shard.quotes(1.0, B)
    shard.notes(gap(A))
    shard.quotes(2.0, B)
    assert shard.taken == [1.0, 2.0]


def test_a_killed_writer_knows_from_the_journal_what_was_said(shard: Shard) -> None:
    shard.quotes(1.0, A)
    shard.quotes(2.0, B, A)
    shard.restarts()
    shard.quotes(1.0, B)
    shard.notes(gap(A))
    shard.restarts()
    shard.quotes(2.0, B)  # said twice by B by now
    shard.quotes(3.0, B)
    assert shard.taken == [1.0, 2.0, 2.0, 3.0]


def test_memory_ends_where_it_says(shard: Shard) -> None:
    shard.quotes(1.0, A)
    shard.journal += shard.journal[-1:] * 2 * keyless.BLOCK_FRAMES
    shard.quotes(2.0, A)
    shard.quotes(1.0, B)
    assert shard.taken == [1.0, 2.0, 1.0]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from([A, B]), st.integers(1, 4)), min_size=1, max_size=40),
    st.lists(st.integers(1, 9), min_size=40, max_size=40),
    st.sets(st.integers(1, 39), max_size=3),
)
def test_what_is_taken_is_a_function_of_the_journal_wherever_batches_end_or_a_restart_begins(
    said: list[tuple[int, int]], lengths: list[int], restarts: set[int]
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        for module in (keyless, redelivery, batch):
            patched.setattr(module, "BLOCK_FRAMES", 5)
        one_by_one, in_batches = (Shard(journal=[]) for _ in range(2))
        for connection, bid in said:
            one_by_one.quotes(float(bid), connection)
        at = 0
        for length in lengths:
            if at in restarts:
                kept = keyless.first_remembered(at + 1)
                in_batches.restarts(in_batches.runs(said[kept and kept - 1 : at], max(1, kept)))
            in_batches.builds(in_batches.runs(said[at : at + length], at + 1))
            at += length
        assert in_batches.taken == one_by_one.taken


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.sampled_from([(A,), (B,), (A, B)]), min_size=1, max_size=25),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_what_any_connection_says_is_taken_once_whatever_the_others_miss(
    said_by: list[tuple[int, ...]], order: random.Random, restart: bool
) -> None:
    """Each connection keeps the market's order; how they interleave is the random part."""
    shard = Shard()
    shard.notes(Started(NOW_US), Up(A, NOW_US), Up(B, NOW_US))
    bids = [float(n + 1) for n in range(len(said_by))]
    left = {
        each: [bid for bid, who in zip(bids, said_by, strict=True) if each in who]
        for each in (A, B)
    }
    turns = [each for who in said_by for each in who]
    order.shuffle(turns)
    for n, connection in enumerate(turns):
        shard.quotes(left[connection].pop(0), connection)
        if restart and n == len(turns) // 2:
            shard.restarts()
    assert sorted(shard.taken) == bids


def test_a_quote_without_the_exchange_s_time_is_taken_from_who_speaks() -> None:
    shard = Shard("kraken", KrakenCodec())
    shard.notes(Started(NOW_US), Up(A, NOW_US), Up(B, NOW_US))
    ticker = {"symbol": "BTC/USD", "bid": 1.0, "bid_qty": 1.0, "ask": 2.0, "ask_qty": 1.0}
    raw = json.dumps({"channel": "ticker", "type": "update", "data": [ticker]}).encode()
    for connection in (A, B, A, B):
        shard.hears(raw, connection)
    assert shard.taken == [1.0, 1.0]

"""SeenIds against a plain set."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from lake.ingest.redelivery import Redelivery, Source
from lake.ingest.seen_ids import INTERVALS_MAX, SeenIds

batches = st.lists(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60)), max_size=30), max_size=12
)


def arrays(seen: SeenIds, batch: list[tuple[str, int]]) -> tuple[np.ndarray, np.ndarray]:
    codes = np.asarray([seen.code(name) for name, _ in batch], np.int64)
    return codes, np.asarray([value for _, value in batch], np.int64)


@given(batches, st.integers(0, 9))
def test_membership_equals_a_plain_set(batches: list[list[tuple[str, int]]], late_max: int) -> None:
    seen, truth = SeenIds(late_max=late_max), set()
    for batch in batches:
        codes, ids = arrays(seen, batch)
        assert seen.seen(codes, ids).tolist() == [pair in truth for pair in batch]
        assert not seen.unknown(codes, ids).any()
        seen.add(codes, ids)
        truth |= set(batch)


@given(batches, st.integers(1, 6), st.integers(0, 9))
def test_a_bounded_memory_says_unknown_but_never_the_wrong_answer(
    batches: list[list[tuple[str, int]]], intervals_max: int, late_max: int
) -> None:
    seen, truth = SeenIds(intervals_max=intervals_max, late_max=late_max), set()
    for batch in batches:
        codes, ids = arrays(seen, batch)
        known = ~seen.unknown(codes, ids)
        answers = seen.seen(codes, ids)
        for pair, certain, answer in zip(batch, known, answers, strict=True):
            assert not certain or answer == (pair in truth)
        seen.add(codes, ids)
        truth |= set(batch)
        assert seen.seen(codes, ids).all(), "forgotten before the caller says so"
        seen.trim()
        assert len(seen) <= max(intervals_max, 3), "an interval of each instrument stays"


def test_a_restart_knows_nothing_below_the_stored_high_and_names_the_hole_above_it() -> None:
    seen = SeenIds({"a": 10})
    codes, ids = arrays(seen, [("a", 10), ("a", 11), ("a", 14)])
    assert seen.unknown(codes, ids).tolist() == [True, False, False]
    (hole,) = seen.holes(codes, ids)
    assert (hole.instrument, hole.first, hole.last) == ("a", 12, 13)
    seen.add(codes, ids)
    assert not seen.covers("a", 12, 13)
    seen.add(*arrays(seen, [("a", 13), ("a", 12)]))
    assert seen.covers("a", 12, 13)
    assert seen.high() == {"a": 14}


def test_contiguous_ids_cost_one_interval() -> None:
    seen = SeenIds()
    code = np.full(100_000, seen.code("a"), np.int64)
    seen.add(code, np.random.default_rng(1).permutation(100_000).astype(np.int64))
    assert len(seen) == 1


class NothingStored:
    """Stores that a batch in the making is not in."""

    def stored(self, dataset: str, keys: pl.DataFrame) -> np.ndarray:
        """Tell that no key is there."""
        return np.zeros(len(keys), np.bool_)


def test_what_a_batch_has_taken_is_known_until_it_is_committed_however_sparse_its_ids() -> None:
    taken = Redelivery(NothingStored(), {})

    def take(first: int, count: int) -> int:
        ids = pa.array(first + 2 * np.arange(count))
        named = {name: pa.repeat(name, count) for name in ("exchange", "market", "ticker")}
        times = ids.cast(pa.timestamp("us", "UTC"))
        rows = pa.table({**named, "venue_sequence": ids, "event_time": times})
        source = Source(np.zeros(count, np.int32), np.ones(count, np.bool_), (0, 0))
        return taken.take("crypto_quotes", rows, source, contiguous=False).rows.num_rows

    live, run = INTERVALS_MAX - 20_000, 50_000
    assert take(1_000_000, live) == live
    assert [take(1, run), take(1 + 2 * run, run)] == [run, run]
    assert take(1, run) == 0, "a run of the same batch again"
    assert taken.is_full
    taken.trim()
    assert not taken.is_full
    assert [take(1, run), take(1, run)] == [run, 0], "of what is committed the stores are asked"

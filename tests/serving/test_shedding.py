"""Under overload quotes go before trades, every one is counted, and the bounds hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lake.clock import ManualClock
from lake.ingest.intake import Slice
from serving.streams import entry
from serving.streams.breaker import FAILURES_MAX, GOOD_MIN, PAUSE_US_MIN, Breaker
from serving.streams.entry import Drop
from serving.streams.shedding import SheddingQueue

TRADE = b'[{"ev":"XT"}]'
QUOTE = b'[{"ev":"XQ"}]'


def offered(queue: SheddingQueue, first: int, frames: list[bytes]) -> int:
    queue.offer(Slice("sim", 0, first, frames, list(range(first, first + len(frames)))))
    return first + len(frames)


@given(st.lists(st.lists(st.sampled_from([TRADE, QUOTE]), min_size=1, max_size=8), max_size=30))
def test_nothing_is_lost_unsaid_and_no_trade_goes_while_a_quote_waits(
    slices: list[list[bytes]],
) -> None:
    queue = SheddingQueue(frames_max=20)
    at = 1
    for frames in slices:
        trades_gone = queue.dropped["trades"]
        at = offered(queue, at, frames)
        assert queue.frames <= 20
        if queue.dropped["trades"] > trades_gone:
            assert all(frame == TRADE for one in queue._waiting for frame in one.frames)
    every = [frame for frames in slices for frame in frames]
    taken, drops = queue.take(1_000, 0)
    kept = [number for one in taken for number in one.numbers]
    assert kept == sorted(set(kept))
    assert len(kept) + sum(queue.dropped.values()) == len(every)
    assert [frame for one in taken for frame in one.frames] == [every[n - 1] for n in kept]
    if taken:
        assert {each.kind: each.count for each in drops} == {
            kind: count for kind, count in queue.dropped.items() if count
        }


@given(st.integers(1, 5), st.integers(0, 3))
def test_each_frame_is_looked_at_once_and_a_full_queue_is_not_looked_through(
    size: int, quotes: int
) -> None:
    queue = SheddingQueue(frames_max=1_000)
    frames = ([QUOTE] * quotes + [TRADE] * size)[:size]
    at, most, offers = 1, 0, 1_500
    for _ in range(offers):
        before = queue.looked
        at = offered(queue, at, frames)
        most = max(most, queue.looked - before)
    assert most <= 5 * size  # its own, twice as many that wait, and what a whole slice is over
    assert queue.looked <= offers * size
    at = offered(queue, at, [TRADE] * 500)
    queue.take(10, 0)
    before = queue.looked
    queue.shut()
    assert queue.looked == before  # nothing that waits was left to look at


def test_quotes_that_waited_go_the_oldest_first_and_a_slice_of_nothing_else_is_not_sent() -> None:
    queue = SheddingQueue(frames_max=8)
    at = offered(queue, 1, [QUOTE] * 2)
    at = offered(queue, at, [TRADE, QUOTE])
    at = offered(queue, at, [TRADE] * 4)
    at = offered(queue, at, [TRADE] * 2)
    assert (queue.frames, queue.dropped) == (8, {"quotes": 2, "trades": 0})
    offered(queue, at, [TRADE] * 2)
    assert (queue.frames, queue.dropped) == (7, {"quotes": 3, "trades": 2})
    taken, _ = queue.take(100, 0)
    assert [one.numbers for one in taken] == [[3], [5, 6, 7, 8], [9, 10]]
    assert queue.take(1, 0) == ([], [])


def test_above_a_mark_quotes_are_left_out_until_a_lower_one() -> None:
    queue = SheddingQueue(frames_max=20)
    at = offered(queue, 1, [TRADE] * 10)
    at = offered(queue, at, [QUOTE] * 3)
    assert (queue.frames, queue.dropped["quotes"]) == (10, 3)
    offered_at = at
    first, drops = queue.take(1, 0)
    assert drops == [Drop("sim", "quotes", 3, 11, 13, 11, 13)]
    assert len(first) == 1
    offered(queue, offered_at, [QUOTE] * 3)
    assert queue.dropped["quotes"] == 3


def test_a_shut_queue_counts_by_kind_and_opens_again() -> None:
    queue = SheddingQueue()
    at = offered(queue, 1, [QUOTE, TRADE])
    queue.shut()
    at = offered(queue, at, [QUOTE, TRADE])
    assert (queue.frames, queue.dropped) == (0, {"quotes": 2, "trades": 2})
    queue.open()
    offered(queue, at, [TRADE])
    taken, drops = queue.take(10, 0)
    assert [one.numbers for one in taken] == [[5]]
    assert drops == [Drop("sim", "quotes", 2, 1, 3, 1, 3), Drop("sim", "trades", 2, 2, 4, 2, 4)]


def test_what_is_not_known_to_be_quotes_is_no_quote() -> None:
    queue = SheddingQueue(frames_max=2)
    queue.offer(Slice("sentiment", 0, 1, [b"{}"] * 3, [1, 2, 3]))
    assert queue.dropped == {"quotes": 0, "trades": 3}


@given(
    st.lists(st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"")), max_size=6),
    st.lists(st.integers(1, 3), min_size=6, max_size=6),
)
def test_an_entry_comes_back_as_it_was(frames: list[bytes], steps: list[int]) -> None:
    numbers = [sum(steps[: i + 1]) for i in range(len(frames))]
    drop = Drop("sim", "quotes", 2, 1, 2, 3, 4)
    raw = entry.dump(7, "sim", -1, True, numbers, numbers, frames, [drop])
    found = entry.load(raw, "here")
    assert (found.number, found.feed, found.connection, found.recorded) == (7, "sim", -1, True)
    assert found.drops == (drop,)
    runs = found.runs(3)
    assert [frame for run in runs for frame in run] == frames
    assert [run.first_frame + i for run in runs for i in range(len(run))] == numbers
    assert [t for run in runs for t in run.received_us.tolist()] == numbers


def test_the_breaker_opens_after_faults_in_a_row_and_closes_only_by_degrees() -> None:
    clock = ManualClock()
    breaker = Breaker(clock)
    breaker.bad()
    breaker.good()
    for _ in range(FAILURES_MAX):
        assert breaker.allows()
        breaker.bad()
    assert not breaker.allows()
    clock.advance(PAUSE_US_MIN)
    assert breaker.allows()
    breaker.bad()
    clock.advance(PAUSE_US_MIN)
    assert not breaker.allows()
    clock.advance(PAUSE_US_MIN)
    for _ in range(GOOD_MIN):
        assert breaker.allows()
        assert breaker.state == "half_open"
        breaker.good()
    assert (breaker.state, breaker.opened) == ("closed", 1)

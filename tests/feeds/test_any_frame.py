"""No frame stops a decoder: each event is a row, quarantined or ignored, and they add up."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_frames import fuzz
from lake.feeds.codec import frames_of
from lake.feeds.events import DEPTH_MAX, too_deep
from lake.ingest.codecs import codecs
from tests.feeds.generated_frames import NOW_US, changed, values, written

AT = "2023-11-14T22:13:20.123456Z"
MATCH = {
    "type": "match",
    "trade_id": 1,
    "side": "buy",
    "size": "0.1",
    "price": "14.7775",
    "product_id": "BTC-USD",
    "sequence": 2,
    "time": AT,
}
BEST = {
    "type": "ticker",
    "product_id": "BTC-USD",
    "sequence": 3,
    "best_bid": "1",
    "best_bid_size": "2",
    "best_ask": "3",
    "best_ask_size": "4",
    "time": AT,
}
PRINT = {
    "symbol": "BTC/USD",
    "side": "sell",
    "price": 1.5,
    "qty": 2,
    "ord_type": "limit",
    "trade_id": 4,
    "timestamp": AT,
}
TICKER = {"symbol": "BTC/USD", "bid": 1, "bid_qty": 2, "ask": 3, "ask_qty": 4, "timestamp": AT}
RECORD = {
    "asset": "BTC",
    "source": "news",
    "time": AT,
    "sentiment_score": 0.5,
    "confidence": 1,
    "metadata": {"a": 1},
}
OLD = ["1.5", "2", "1699999999.123456", "b", "l", ""]


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Draw a frame of any venue, right or wrong."""
    event = draw(st.sampled_from([MATCH, BEST, PRINT, TICKER, RECORD]))
    event = draw(changed(event, sorted(event)))
    entry: list[Any] = list(OLD)
    if draw(st.booleans()):
        entry[draw(st.integers(0, 5))] = draw(values)
    whole: Any = event
    if "symbol" in event:
        whole = {"channel": "trade" if "side" in event else "ticker", "data": [event, event]}
        whole = draw(changed(whole, ["channel", "data"]))
    elif event.keys() == RECORD.keys() and draw(st.booleans()):
        whole = [7, draw(st.sampled_from([[entry, OLD], entry])), "trade", "XBT/USD"]
        if not draw(st.integers(0, 5)):
            whole[draw(st.integers(0, 3))] = draw(values)
    return draw(written(whole))


@pytest.mark.parametrize("feed", sorted(codecs()))
@settings(max_examples=150, deadline=None)
@given(raw=st.lists(frames(), min_size=1, max_size=4))
def test_every_event_has_one_outcome(feed: str, raw: list[bytes]) -> None:
    decoded = codecs()[feed].decode(frames_of(raw, received_us=NOW_US))
    stored = sum(table.num_rows for table in decoded.tables.values())
    held = decoded.quarantine.num_rows
    assert stored + held + sum(decoded.ignored.values()) == decoded.events >= len(raw)
    assert "decoder_fault" not in decoded.quarantine["reason"].to_pylist()
    numbers = [table["seq"].to_pylist() for table in (*decoded.tables.values(), decoded.quarantine)]
    every = [seq for found in numbers for seq in found]
    assert len(set(every)) == len(every)
    assert all(found == sorted(found) for found in numbers)


@pytest.mark.parametrize("feed", sorted(codecs()))
def test_noise_is_quarantined_as_it_came(feed: str) -> None:
    chance = random.Random(3)
    raw = [chance.randbytes(chance.randrange(1, 60)) for _ in range(500)]
    raw = [frame for frame in raw if not frame.strip().isdigit()]
    decoded = codecs()[feed].decode(frames_of(raw, received_us=NOW_US))
    assert decoded.quarantine["raw"].to_pylist() == raw


@pytest.mark.parametrize("feed", sorted(codecs()))
def test_no_frames_are_no_events(feed: str) -> None:
    decoded = codecs()[feed].decode(frames_of([]))
    assert (decoded.events, decoded.quarantine.num_rows, dict(decoded.ignored)) == (0, 0, {})


@pytest.mark.parametrize("seed", range(3))
def test_changed_frames_of_the_benchmark_have_one_outcome_and_harm_no_other(seed: int) -> None:
    for outcome in fuzz(seed, 300).values():
        assert outcome.right, outcome.examples
        assert outcome.frames == 300
        assert outcome.stored > 0
        assert len(outcome.reasons) > 5


@pytest.mark.parametrize(
    ("text", "deep"),
    [
        (b"[" * DEPTH_MAX + b"]" * DEPTH_MAX, False),
        (b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1), True),
        (b'{"a":[' * 51 + b"]}" * 51, True),
        (b"[[],{}," * 1_000 + b"0" + b"]" * 1_000, True),
        (b"[" + b"[{}]," * 1_000 + b"0]", False),
        (b'["' + b"[" * 1_000 + b'\\\\\\"' + b"[" * 1_000 + b'"]', False),
        (b"[" * DEPTH_MAX, False),
        (b"[" * (DEPTH_MAX + 1), True),
        (b'"' + b"[" * 1_000, True),
        (b"", False),
    ],
    ids=range(10),
)
def test_depth_counts_brackets_outside_text(text: bytes, deep: bool) -> None:
    assert too_deep(text) == deep

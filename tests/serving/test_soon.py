"""What is told before it is Arrow's is what the lake's rows say, whatever the frames are."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.feeds.codec import frames_of
from lake.feeds.plain import Plain, joined
from serving.live.newest import TOLD, Newest, exchanges_of, newest
from serving.live.once import QUOTES, TRADES, Once

FEED = "sim"
NOW_US = 1_700_000_000_000_000
SHARED = {"pair": "BTC-USD", "x": 1, "t": NOW_US // 1_000, "r": NOW_US // 1_000}
TRADE = {"ev": "XT", **SHARED, "p": 33_021.9, "s": 0.5, "c": [2], "i": "7"}
QUOTE = {"ev": "XQ", **SHARED, "bp": 33_021.5, "bs": 0, "ap": 33_022, "as": 2.25}
BUCKET = {"ev": "XAS", **SHARED, "s": NOW_US // 1_000, "e": NOW_US // 1_000 + 1_000, "v": 3}
BUCKET |= {"o": 5, "c": 6, "h": 7, "l": 4}

changes: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "pair": st.sampled_from(["ETH-USD", "BTC-USD", "no pair"]),
        "x": st.sampled_from([1, 2, 99_999]),
        "t": st.integers(NOW_US // 1_000 - 5, NOW_US // 1_000 + 1),
        "i": st.sampled_from(["1", "2", "3", "007", "a", "9" * 15, "", None, "٣"]),
        "p": st.sampled_from([1, 0.00000001, 33_021.9, -1, "5", 1e-11]),
        "bp": st.sampled_from([2, 1.5, 0, None]),
        "c": st.sampled_from([None, [], [1], [2, 5], 1]),
    },
)


@st.composite
def raw_frames(draw: st.DrawFn) -> bytes:
    """Draw a frame of a few events: most of them plainly right, and many twice."""
    events = []
    for _ in range(draw(st.integers(1, 3))):
        event = draw(st.sampled_from([TRADE, QUOTE, TRADE, QUOTE, BUCKET, {"ev": "status"}]))
        events.append(event | draw(st.one_of(st.just({}), changes)))
    return json.dumps(events).encode()


def rows_of(parts: list[Plain | pa.Table]) -> pa.Table:
    tables = [each.table() if isinstance(each, Plain) else each for each in parts]
    return pa.concat_tables(tables)


@given(st.lists(st.lists(raw_frames(), min_size=1, max_size=5), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_rows_that_come_soon_are_those_that_come_later(runs: list[list[bytes]]) -> None:
    soon, later = Once(), Once()
    first = 1
    for raw in runs:
        frames = frames_of(
            raw, received_us=[NOW_US + n for n in range(len(raw))], first_frame=first
        )
        first += len(raw)
        found, told = soon.soon(FEED, frames), Newest()
        expected = later.take([(FEED, frames)]).tables
        parts: dict[str, list[Plain | pa.Table]] = defaultdict(list)
        for name, rows in (*found.plain.items(), *found.tables.items()):
            parts[name].append(rows)
            told.take(name, rows)
            assert exchanges_of(rows) == exchanges_of(rows_of([rows]))
        assert parts.keys() == expected.keys()
        for name, rows in expected.items():
            assert rows_of(parts[name]).equals(rows), name
        for name in (TRADES, QUOTES):
            assert told.rows(name) == newest(expected.get(name), *TOLD[name])


def test_rows_of_several_runs_are_one_table_as_each_alone() -> None:
    raw = [json.dumps([TRADE | {"i": str(n), "c": [n % 3]}, QUOTE]).encode() for n in range(9)]
    once, whole = Once(), frames_of(raw, received_us=[NOW_US] * len(raw))
    plain = [once.soon(FEED, whole.slice(n, n + 3)).plain for n in (0, 3, 6)]
    for name in (TRADES, QUOTES):
        expected = Once().take([(FEED, whole)]).tables[name]
        assert joined([each[name] for each in plain]).table().equals(expected)
        told = Newest()
        for each in plain:
            told.take(name, each[name])
        assert told.rows(name) == newest(expected, *TOLD[name])


@pytest.mark.parametrize("exact", [False, True])
def test_ids_with_holes_are_forgotten_oldest_first_and_counted_ones_never(exact: bool) -> None:
    once = Once(exact=exact, intervals_max=50)
    taken = 0

    def new(*numbers: int) -> int:
        nonlocal taken
        raw = [json.dumps([TRADE | {"i": str(number)}]).encode() for number in numbers]
        frames = frames_of(raw, received_us=NOW_US, first_frame=taken + 1)
        taken += len(raw)
        rows = once.soon(FEED, frames)
        found = [*rows.plain.values(), *rows.tables.values()]
        return sum(len(each) for each in found)

    for first in range(0, 400, 40):
        assert new(*range(first, first + 40, 2)) == 20
    assert new(*range(360, 400, 2)) == 0
    assert new(0) == 1
    assert new(0) == 0
    assert new(*range(1_000, 1_400)) == 400
    assert new(*range(1_000, 1_400)) == 0

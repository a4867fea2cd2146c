"""Frames of histories: the quick way and the row-by-row way agree on every row's class."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.feeds.codec import frames_of
from lake.feeds.events import decode_frames, schema
from lake.feeds.history import HistoryCodec, _events, frames_of_rows, note_of, row_schema

NOW_US = 1_760_000_000_000_000
NOW = datetime.fromtimestamp(NOW_US / 1e6, UTC)

TRADE = st.fixed_dictionaries(
    {
        "ticker": st.just("X:BTCUSD"),
        "exchange": st.just("coinbase"),
        "market": st.just("spot"),
        "trade_id": st.one_of(st.none(), st.integers(1, 99).map(str), st.just("")),
        "event_time": st.sampled_from(
            [
                NOW,
                NOW - timedelta(days=9),
                NOW + timedelta(days=1),
                datetime(1990, 1, 1, tzinfo=UTC),
            ]
        ),
        "price": st.sampled_from([Decimal("1.5"), Decimal(0), Decimal(-1)]),
        "size": st.sampled_from([Decimal("2"), Decimal("1e-10")]),
        "side": st.sampled_from(["buy", "sell", None, "both"]),
        "conditions": st.sampled_from([None, "14"]),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(TRADE, min_size=1, max_size=4), max_size=4))
def test_the_quick_way_is_the_row_by_row_way(batches: list[list[dict[str, Any]]]) -> None:
    wanted = row_schema("crypto_trades")
    frames = [
        frame
        for batch in batches
        for frame in frames_of_rows("crypto_trades", pa.Table.from_pylist(batch, wanted))
    ]
    run = frames_of([*frames, note_of("contradicts_held", "why", answer={}), b"{}", b"x"],
                    received_us=NOW_US)  # fmt: skip
    quick, slow = HistoryCodec().decode(run), decode_frames(run, "history", _events)
    empty = schema("crypto_trades").empty_table()
    assert (
        quick.tables.get("crypto_trades", empty).to_pylist()
        == slow.tables.get("crypto_trades", empty).to_pylist()
    )
    assert quick.quarantine.to_pylist() == slow.quarantine.to_pylist()
    assert quick.events == slow.events == sum(map(len, batches)) + 3
    stored = sum(table.num_rows for table in quick.tables.values())
    assert quick.events == stored + quick.quarantine.num_rows
    reasons = quick.quarantine["reason"].to_pylist()
    assert reasons[-3:] == ["contradicts_held", "unknown_event", "not_arrow"]

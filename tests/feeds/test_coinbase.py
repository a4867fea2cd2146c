"""Coinbase: the aggressor's side, exact strings, contiguous trade ids in the recorded capture."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lake.feeds.codec import EVENT_BYTES_MAX, Decoded, frames_of
from lake.feeds.coinbase import CoinbaseCodec
from lake.feeds.recording import instruments, open_recording

RECEIVED_US = 1_618_677_830_000_000
MATCH = {
    "type": "match",
    "trade_id": 881613,
    "maker_order_id": "27fff20b-af29-4f45-8744-56dd1ef57dc0",
    "taker_order_id": "1da6ce16-c8da-4732-9f71-6049f4c6aaf8",
    "side": "sell",
    "size": "0.04000001",
    "price": "14.7775",
    "product_id": "BAND-GBP",
    "sequence": 333938798,
    "time": "2021-04-17T16:43:30.244075Z",
}
TICKER = {
    "type": "ticker",
    "sequence": 333938799,
    "product_id": "BAND-GBP",
    "best_bid": "14.7550",
    "best_bid_size": "2.5",
    "best_ask": "14.8060",
    "best_ask_size": "0",
    "time": "2021-04-17T16:43:30.244075Z",
}
AT = datetime(2021, 4, 17, 16, 43, 30, 244075, UTC)


def decode(*events: Any) -> Decoded:
    raw = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    return CoinbaseCodec().decode(frames_of(raw, received_us=RECEIVED_US))


def test_match_is_a_trade_by_the_other_side_than_the_maker_s() -> None:
    [row] = decode(MATCH).tables["crypto_trades"].to_pylist()
    assert (row["ticker"], row["exchange"], row["market"]) == ("X:BANDGBP", "coinbase", "spot")
    assert (row["trade_id"], row["side"], row["event_time"]) == ("881613", "buy", AT)
    assert (row["price"], row["size"]) == (Decimal("14.7775"), Decimal("0.04000001"))


def test_last_match_is_the_same_trade_again() -> None:
    first, again = (
        decode(MATCH, {**MATCH, "type": "last_match"}).tables["crypto_trades"].to_pylist()
    )
    assert {**again, "seq": first["seq"]} == first


def test_ticker_with_sizes_is_a_quote_and_without_them_ignored() -> None:
    bare = {name: value for name, value in TICKER.items() if not name.endswith("_size")}
    decoded = decode(TICKER, bare)
    [row] = decoded.tables["crypto_quotes"].to_pylist()
    assert (row["bid_price"], row["bid_size"]) == (Decimal("14.755"), Decimal("2.5"))
    assert (row["ask_price"], row["ask_size"]) == (Decimal("14.806"), Decimal(0))
    assert (row["venue_sequence"], row["event_time_source"]) == (333938799, "exchange")
    assert decoded.ignored == {"ticker": 1}


@pytest.mark.parametrize(
    ("changes", "reason", "path"),
    [
        ({"side": "neither"}, "missing_field", "$.side"),
        ({"side": []}, "missing_field", "$.side"),
        ({"trade_id": None}, "missing_field", "$.trade_id"),
        ({"price": "-1"}, "price_not_positive", "$.price"),
        ({"price": "0.00000000001"}, "precision", "$.price"),
        ({"size": "0"}, "size_not_positive", "$.size"),
        ({"product_id": "../x"}, "bad_ticker", "$.product_id"),
        ({"time": "2021-04-17T16:43:30"}, "bad_time", "$.time"),
        ({"time": "yesterday"}, "bad_time", "$.time"),
        ({"time": "2031-04-17T16:43:30Z"}, "time_in_future", "$.time"),
        ({"time": 1618677830}, "missing_field", "$.time"),
        ({"type": "surprise"}, "unknown_event", "$.type"),
        ({"type": ["match"]}, "unknown_event", "$.type"),
    ],
)
def test_bad_event_is_quarantined_and_its_neighbours_stored(
    changes: dict[str, Any], reason: str, path: str
) -> None:
    decoded = decode(MATCH, MATCH | changes, MATCH)
    [row] = decoded.quarantine.to_pylist()
    assert (row["reason"], row["place"]) == (reason, f"frame 2 event 0 {path}")
    assert row["raw"] == json.dumps(MATCH | changes).encode()
    assert decoded.tables["crypto_trades"]["seq"].to_pylist() == [1 << 16, 3 << 16]


def test_event_over_a_mebibyte_is_refused_but_a_book_s_snapshot_may_be_large() -> None:
    note = {"note": "z" * EVENT_BYTES_MAX}
    decoded = decode(MATCH | note, {"type": "snapshot"} | note, MATCH)
    assert decoded.quarantine["reason"].to_pylist() == ["too_large"]
    assert decoded.ignored == {"snapshot": 1}
    assert decoded.tables["crypto_trades"].num_rows == 1


def test_recorded_capture_has_97_matches_without_a_hole_and_sequence_holes_at_each(
    data_dir: Path,
) -> None:
    path = data_dir / "venue_captures" / "COINBASE.ws.28.0.gz"
    matches: dict[str, list[tuple[int, int]]] = {}
    stored, kinds = 0, dict[str, int]()
    for batch in open_recording(path).batches():
        frames = frames_of([raw for _, raw in batch], received_us=[at for at, _ in batch])
        decoded = CoinbaseCodec().decode(frames)
        assert decoded.quarantine.num_rows == 0
        stored += sum(table.num_rows for table in decoded.tables.values())
        for kind, count in decoded.ignored.items():
            kinds[kind] = kinds.get(kind, 0) + count
        for event in (json.loads(raw) for _, raw in batch):
            if event["type"] in ("match", "last_match"):
                ids = (event["trade_id"], event["sequence"])
                matches.setdefault(event["product_id"], []).append(ids)
    assert kinds == {"subscriptions": 3, "snapshot": 10, "ticker": 107, "l2update": 9719}
    assert stored == sum(map(len, matches.values())) == 97 + 10
    steps = [(b[0] - a[0], b[1] - a[1]) for ids in matches.values() for a, b in pairwise(ids)]
    assert len(steps) == 97
    assert {ids for ids, _ in steps} == {1}
    assert all(sequence > 1 for _, sequence in steps)
    tickers = {f"X:{product.replace('-', '')}" for product in matches}
    assert {ticker for _, _, ticker in instruments(path)} == tickers

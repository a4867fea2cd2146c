"""Kraken: version 2's objects, and version 1's arrays as the capture has them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lake.feeds.codec import Decoded, frames_of
from lake.feeds.kraken import KrakenCodec
from lake.feeds.recording import open_recording

RECEIVED_US = 1_695_828_273_000_000
AT = datetime(2023, 9, 25, 7, 49, 37, 708706, UTC)
TRADE = {
    "symbol": "BTC/USD",
    "side": "sell",
    "price": 26262.5,
    "qty": 0.00012345,
    "ord_type": "market",
    "trade_id": 59113091,
    "timestamp": "2023-09-25T07:49:37.708706Z",
}
TICKER = {
    "symbol": "XBT/USD",
    "bid": 26262.5,
    "bid_qty": 1.25,
    "ask": 26262.6,
    "ask_qty": 0,
    "last": 26262.5,
}
OLD = ["0.043030", "1081.72663000", "1618678157.908269", "b", "l", ""]


def decode(*frames: Any) -> Decoded:
    raw = [frame if isinstance(frame, bytes) else json.dumps(frame).encode() for frame in frames]
    return KrakenCodec().decode(frames_of(raw, received_us=RECEIVED_US))


def trades(*entries: Any) -> dict[str, Any]:
    return {"channel": "trade", "type": "update", "data": list(entries)}


def test_trades_of_version_2_become_rows_in_order() -> None:
    later = {**TRADE, "trade_id": 59113092, "side": "buy"}
    first, second = decode(trades(TRADE, later)).tables["crypto_trades"].to_pylist()
    assert (first["ticker"], first["exchange"], first["market"]) == ("X:BTCUSD", "kraken", "spot")
    assert (first["trade_id"], first["side"], first["event_time"]) == ("59113091", "sell", AT)
    assert (first["price"], first["size"]) == (Decimal("26262.5"), Decimal("0.00012345"))
    assert (first["conditions"], first["seq"]) == ("market", 1 << 16)
    assert (second["trade_id"], second["seq"]) == ("59113092", (1 << 16) + 1)


def test_ticker_is_a_quote_by_its_own_time_or_else_the_receipt_s() -> None:
    timed = {**TICKER, "timestamp": "2023-09-25T07:49:37.708706Z"}
    frames = [{"channel": "ticker", "data": [event]} for event in (TICKER, timed)]
    received, exchange = decode(*frames).tables["crypto_quotes"].to_pylist()
    assert received["event_time"] == received["received_time"]
    assert received["event_time_source"] == "received"
    assert (exchange["event_time"], exchange["event_time_source"]) == (AT, "exchange")
    assert (exchange["ticker"], exchange["bid_size"]) == ("X:BTCUSD", Decimal("1.25"))


def test_heartbeats_status_and_replies_are_ignored_by_kind() -> None:
    decoded = decode(
        {"channel": "heartbeat"},
        {"channel": "status", "data": [{"system": "online"}]},
        {"method": "subscribe", "success": True},
        {"event": "systemStatus", "status": "online"},
        {"event": "something\x00new"},
        [1, {"a": []}, "book-10", "XBT/USD"],
    )
    assert decoded.ignored == {
        "heartbeat": 1,
        "status": 1,
        "reply": 2,
        "systemStatus": 1,
        "book": 1,
    }
    assert decoded.events == 6


def test_trades_of_version_1_have_microseconds_and_no_id() -> None:
    decoded = decode([1921, [OLD, [*OLD[:3], "s", "m", ""]], "trade", "SC/XBT"])
    first, second = decoded.tables["crypto_trades"].to_pylist()
    assert (first["ticker"], first["trade_id"], first["side"]) == ("X:SCBTC", None, "buy")
    assert first["event_time"] == datetime(2021, 4, 17, 16, 49, 17, 908269, UTC)
    assert (first["price"], first["size"]) == (Decimal("0.04303"), Decimal("1081.72663"))
    assert (second["side"], second["seq"]) == ("sell", (1 << 16) + 1)


@pytest.mark.parametrize(
    ("frame", "reason", "place"),
    [
        (trades({**TRADE, "side": "x"}), "bad_side", "$.data[0].side"),
        (trades({**TRADE, "side": []}), "bad_side", "$.data[0].side"),
        (trades({**TRADE, "trade_id": None}), "missing_field", "$.data[0].trade_id"),
        (trades({**TRADE, "price": 0}), "price_not_positive", "$.data[0].price"),
        (trades({**TRADE, "qty": "NaN"}), "not_a_number", "$.data[0].qty"),
        (trades({**TRADE, "symbol": "BTC-USD"}), "bad_ticker", "$.data[0].symbol"),
        (trades({**TRADE, "ord_type": "a\x00"}), "bad_conditions", "$.data[0].ord_type"),
        (trades(7), "not_an_object", "$.data[0]"),
        (trades(), "unknown_event", "$"),
        ({"channel": []}, "unknown_event", "$"),
        ({"channel": {}, "data": [1]}, "unknown_event", "$"),
        ({}, "unknown_event", "$"),
        (7, "not_an_object", "$"),
        ([], "unknown_event", "$"),
        ([1, [], "trade", "SC/EUR"], "not_an_array", "$"),
        ([1, [OLD[:2]], "trade", "SC/EUR"], "not_an_object", "$[1][0]"),
        ([1, [[*OLD[:3], []]], "trade", "SC/EUR"], "bad_side", "$[1][0][3]"),
        ([1, [[*OLD[:2], "1e999999999", "b"]], "trade", "SC/EUR"], "bad_time", "$[1][0][2]"),
        ([1, [OLD], "trade", ["SC/EUR"]], "bad_ticker", "$[1][0].symbol"),
    ],
)
def test_bad_event_is_quarantined_and_its_neighbours_stored(
    frame: Any, reason: str, place: str
) -> None:
    decoded = decode(trades(TRADE), frame, trades(TRADE))
    [row] = decoded.quarantine.to_pylist()
    assert (row["reason"], row["place"]) == (reason, f"frame 2 event 0 {place}")
    assert decoded.tables["crypto_trades"]["seq"].to_pylist() == [1 << 16, 3 << 16]
    assert decoded.events == 3


@pytest.mark.parametrize(
    ("start", "good", "odd", "end", "place"),
    [
        (b'{"channel":"trade","data":[', TRADE, {**TRADE, "note": "?"}, b"]}", "$.data[1]"),
        (b'{"data":[', TRADE, {**TRADE, "?": 1}, b'],"channel":"trade"}', "$.data[1]"),
        (b"[7,[", OLD, [*OLD[:5], "?"], b'],"trade","SC/EUR"]', "$[1][1]"),
    ],
)
def test_an_event_that_is_not_utf8_is_quarantined_and_its_neighbours_stored(
    start: bytes, good: Any, odd: Any, end: bytes, place: str
) -> None:
    right, wrong = (json.dumps(each).encode() for each in (good, odd))
    wrong = wrong.replace(b"?", b"\xff")
    decoded = decode(start + b",".join([right, wrong, right]) + end)
    [row] = decoded.quarantine.to_pylist()
    assert (row["reason"], row["raw"]) == ("not_utf8", wrong)
    assert row["place"] == f"frame 1 event 1 {place}"
    assert decoded.tables["crypto_trades"]["seq"].to_pylist() == [1 << 16, 1 << 16 | 2]


@pytest.mark.parametrize(
    ("frame", "raw"),
    [
        (b'{"data" : [ {"side":1e0} ,7],"channel":"trade"}', [b'{"side":1e0}', b"7"]),
        (b'{"data":[1],"channel":"trade","d\\u0061ta":[2, 3]}', [b"2", b"3"]),
        (b'[ 1 , [ ["1.0" ,[]] ] , "trade" , "SC/EUR" ]', [b'["1.0" ,[]]']),
        (b'[1,{"a":[]},"trade","SC/EUR"]', [b'[1,{"a":[]},"trade","SC/EUR"]']),
    ],
)
def test_refused_entry_is_kept_as_it_came_to_the_byte(frame: bytes, raw: list[bytes]) -> None:
    assert decode(frame).quarantine["raw"].to_pylist() == raw


@pytest.mark.parametrize(
    ("name", "frames", "stored", "ignored"),
    [
        (
            "KRAKEN.ws.48.0.gz",
            49,
            10,
            {"systemStatus": 1, "subscriptionStatus": 10, "heartbeat": 30},
        ),
        (
            "KRAKEN.ws.49.0.gz",
            60,
            0,
            {"systemStatus": 1, "subscriptionStatus": 10, "heartbeat": 31, "ticker": 18},
        ),
        (
            "KRAKEN.ws.50.0.gz",
            4321,
            0,
            {"systemStatus": 1, "subscriptionStatus": 10, "heartbeat": 31, "book": 4279},
        ),
    ],
)
def test_recorded_captures_hold_what_they_hold(
    data_dir: Path, name: str, frames: int, stored: int, ignored: dict[str, int]
) -> None:
    found = open_recording(data_dir / "venue_captures" / name)
    raw = [entry for batch in found.batches() for entry in batch]
    assert (found.feed, len(raw)) == ("kraken", frames)
    times = [at for at, _ in raw]
    decoded = KrakenCodec().decode(frames_of([frame for _, frame in raw], received_us=times))
    rows = decoded.tables["crypto_trades"].num_rows if stored else 0
    assert (rows, dict(decoded.ignored), decoded.quarantine.num_rows) == (stored, ignored, 0)

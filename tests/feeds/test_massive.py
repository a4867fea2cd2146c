"""Massive's documented frames become rows; each kind of bad frame is quarantined, alone."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from lake.feeds.codec import EVENT_BYTES_MAX, Codec, Decoded, frames_of
from lake.feeds.massive import MassiveCodec
from lake.feeds.massive_columns import MassiveColumns
from lake.feeds.massive_lists import MassiveLists

NOW_MS = 1_610_463_300_000
NOW_US = NOW_MS * 1000
TRADE = (
    '{"ev":"XT","pair":"BTC-USD","p":33021.9,"t":1610462007425,"s":0.01616617,"c":[2],'
    '"i":14272084,"x":3,"r":1610462007576}'
)
QUOTE = (
    '{"ev":"XQ","pair":"BTC-USD","bp":33052.79,"bs":0.48,"ap":33073.19,"as":0.601,'
    '"t":1610462411115,"x":1,"r":1610462411128}'
)
MINUTE = (
    '{"ev":"XA","pair":"BCD-USD","v":951.6112,"vw":0.7756,"z":73,"o":0.772,"c":0.784,"h":0.784,'
    '"l":0.771,"s":1610463240000,"e":1610463300000}'
)


@pytest.fixture(params=[MassiveCodec, MassiveColumns, MassiveLists])
def codec(request: pytest.FixtureRequest) -> Codec:
    """Return the reference decoder, then the columnar one, then that of few frames."""
    found: Codec = request.param()
    return found


def decode(codec: Codec, *raw: str | bytes) -> Decoded:
    """Decode frames received at NOW_US as frames 5, 6, ... of shard 2, connection 4."""
    frames = [frame.encode() if isinstance(frame, str) else frame for frame in raw]
    given = frames_of(frames, shard=2, first_frame=5, received_us=NOW_US, connection=4)
    return codec.decode(given)


def at(milliseconds: int) -> datetime:
    """Return a time."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).replace(
        microsecond=milliseconds % 1000 * 1000
    )


def test_documented_trade_quote_and_minute_become_rows(codec: Codec) -> None:
    decoded = decode(codec, f"[{TRADE},{QUOTE}]", f"[{MINUTE}]")
    shared = {"market": "spot", "received_time": at(NOW_MS), "shard": 2}
    assert decoded.tables["crypto_trades"].to_pylist() == [
        {
            **shared,
            "ticker": "X:BTCUSD",
            "exchange": "massive:3",
            "trade_id": "14272084",
            "event_time": at(1610462007425),
            "price": Decimal("33021.9"),
            "size": Decimal("0.01616617"),
            "side": "buy",
            "conditions": None,
            "seq": 5 << 16,
        }
    ]
    assert decoded.tables["crypto_quotes"].to_pylist() == [
        {
            **shared,
            "ticker": "X:BTCUSD",
            "exchange": "massive:1",
            "event_time": at(1610462411115),
            "event_time_source": "exchange",
            "bid_price": Decimal("33052.79"),
            "bid_size": Decimal("0.48"),
            "ask_price": Decimal("33073.19"),
            "ask_size": Decimal("0.601"),
            "venue_sequence": None,
            "seq": (5 << 16) + 1,
        }
    ]
    assert decoded.tables["crypto_aggregates"].to_pylist() == [
        {
            **shared,
            "ticker": "X:BCDUSD",
            "exchange": "massive",
            "event_time": at(1610463240000),
            "interval": "1m",
            "open": Decimal("0.772"),
            "high": Decimal("0.784"),
            "low": Decimal("0.771"),
            "close": Decimal("0.784"),
            "volume": Decimal("951.6112"),
            "vwap": Decimal("0.7756"),
            "average_trade_size": Decimal(73),
            "seq": 6 << 16,
        }
    ]
    assert (decoded.events, decoded.ignored, decoded.quarantine.num_rows) == (3, {}, 0)


@pytest.mark.parametrize(
    ("codes", "side", "conditions"),
    [
        ("[1]", "sell", None),
        ("[2]", "buy", None),
        ("[0]", None, None),
        ("[]", None, None),
        ("null", None, None),
        ("2", "buy", None),
        ("[7,1,9]", "sell", "7,9"),
    ],
)
def test_conditions_tell_the_side_and_others_are_kept(
    codec: Codec, codes: str, side: str | None, conditions: str | None
) -> None:
    [row] = decode(codec, f"[{TRADE.replace('[2]', codes)}]").tables["crypto_trades"].to_pylist()
    assert (row["side"], row["conditions"]) == (side, conditions)


def test_the_simulated_exchange_has_its_own_prefix() -> None:
    decoded = decode(MassiveColumns("sim"), f"[{TRADE},1]")
    assert decoded.tables["crypto_trades"]["exchange"].to_pylist() == ["sim:3"]
    assert decoded.quarantine["feed"].to_pylist() == ["sim"]


def test_status_and_empty_frames_are_ignored_by_kind(codec: Codec) -> None:
    status = '{"ev":"status","status":"connected","message":"Connected Successfully"}'
    decoded = decode(codec, f"[{status},{status}]", "[]")
    assert (decoded.ignored, decoded.events) == ({"status": 2, "empty": 1}, 3)


def changed(event: str, **fields: Any) -> str:
    """Return the event with fields replaced; ... removes one."""
    found = json.loads(event) | fields
    return json.dumps({name: value for name, value in found.items() if value is not ...})


SQL = "BTC-USD'; DROP TABLE crypto_trades; --"
BAD_EVENTS = [
    (changed(TRADE, ev="XZ"), "unknown_event", "$[1].ev"),
    (changed(TRADE, ev=...), "unknown_event", "$[1].ev"),
    (changed(TRADE, ev=["XT"]), "unknown_event", "$[1].ev"),
    (changed(TRADE, p=...), "missing_field", "$[1].p"),
    (changed(TRADE, p=None), "missing_field", "$[1].p"),
    (changed(TRADE, p="NaN"), "not_a_number", "$[1].p"),
    (changed(TRADE, p="Infinity"), "not_a_number", "$[1].p"),
    (changed(TRADE, p=True), "not_a_number", "$[1].p"),
    (changed(TRADE, p=-33021.9), "price_not_positive", "$[1].p"),
    (changed(TRADE, p=0), "price_not_positive", "$[1].p"),
    (changed(TRADE, s=0), "size_not_positive", "$[1].s"),
    (changed(TRADE, s=-1), "size_not_positive", "$[1].s"),
    (changed(TRADE, p=1e18), "precision", "$[1].p"),
    (changed(TRADE, s=1e-11), "precision", "$[1].s"),
    (changed(TRADE, t=NOW_MS // 1000), "time_too_early", "$[1].t"),
    (changed(TRADE, t=NOW_US), "time_in_future", "$[1].t"),
    (changed(TRADE, t=NOW_MS + 60_001), "time_in_future", "$[1].t"),
    (changed(TRADE, t=NOW_MS * 10**6), "time_in_future", "$[1].t"),
    (changed(TRADE, t="2021-01-12"), "bad_time", "$[1].t"),
    (changed(TRADE, t=...), "missing_field", "$[1].t"),
    (changed(TRADE, pair=SQL), "bad_ticker", "$[1].pair"),
    (changed(TRADE, pair="../../etc/passwd"), "bad_ticker", "$[1].pair"),
    (changed(TRADE, pair="BTC-USD\n"), "bad_ticker", "$[1].pair"),
    (changed(TRADE, pair=...), "missing_field", "$[1].pair"),
    (changed(TRADE, i=""), "bad_trade_id", "$[1].i"),
    (changed(TRADE, i="7\x00"), "bad_trade_id", "$[1].i"),
    (changed(TRADE, i="9" * 65), "bad_trade_id", "$[1].i"),
    (changed(TRADE, x=-1), "bad_exchange", "$[1].x"),
    (changed(TRADE, c=["2"]), "bad_conditions", "$[1].c"),
    (changed(QUOTE, bp=0), "price_not_positive", "$[1].bp"),
    (changed(QUOTE, ask=1, ap=...), "missing_field", "$[1].ap"),
    (changed(QUOTE, bs=-0.1), "size_negative", "$[1].bs"),
    (changed(MINUTE, c=1_000_001, h=1_000_002), "close_out_of_range", "$[1].c"),
    (changed(MINUTE, h=0.7), "ohlc", "$[1].h"),
    (changed(MINUTE, v=-1), "volume_negative", "$[1].v"),
    ('"text"', "not_an_object", "$[1]"),
    ("[]", "not_an_object", "$[1]"),
    ("null", "not_an_object", "$[1]"),
    (changed(TRADE, note="z" * EVENT_BYTES_MAX), "too_large", "$[1]"),
]


@pytest.mark.parametrize(("event", "reason", "path"), BAD_EVENTS)
def test_bad_event_is_quarantined_with_reason_place_and_bytes_and_the_rest_stored(
    codec: Codec, event: str, reason: str, path: str
) -> None:
    decoded = decode(codec, f"[{TRADE},{event},{QUOTE}]")
    [row] = decoded.quarantine.to_pylist()
    assert (row["reason"], row["place"]) == (reason, f"frame 5 event 1 {path}")
    assert (row["feed"], row["connection"], row["shard"]) == ("massive", 4, 2)
    assert (row["seq"], row["received_time"]) == ((5 << 16) + 1, at(NOW_MS))
    assert row["raw"] == event.encode()
    assert decoded.tables["crypto_trades"]["seq"].to_pylist() == [5 << 16]
    assert decoded.tables["crypto_quotes"]["seq"].to_pylist() == [(5 << 16) + 2]
    assert (decoded.events, dict(decoded.ignored)) == (3, {})


def test_ten_thousand_fields_are_too_many_and_the_next_event_is_stored(codec: Codec) -> None:
    many = changed(TRADE, **{f"f{i}": i for i in range(10_000)})
    decoded = decode(codec, f"[{many},{changed(TRADE)}]")
    assert decoded.quarantine["reason"].to_pylist() == ["too_many_fields"]
    assert decoded.tables["crypto_trades"].num_rows == 1
    assert decoded.events == 2


@pytest.mark.parametrize("price", ["NaN", "1e400", "-Infinity"])
def test_a_number_that_is_no_json_costs_only_its_event(codec: Codec, price: str) -> None:
    bad = changed(TRADE).replace("33021.9", price)
    decoded = decode(codec, f"[{bad},{changed(TRADE)}]")
    assert decoded.quarantine["reason"].to_pylist() == ["not_a_number"]
    assert decoded.quarantine["raw"].to_pylist() == [bad.encode()]
    assert decoded.tables["crypto_trades"].num_rows == 1


@pytest.mark.parametrize(
    "event",
    [
        ' {"ev" : "XZ",\t"a":[1, {"b":"],["}] } ',
        '{"ev":"XZ","p":33021.90000,"n":123456789012345678901234567890}',
        '{"ev":"XZ","ev":"XY"}',
        '{"ev":"XZ","note":"\\u00e9\\"é]"}',
        '{"ev":"XZ","note":"\\ud800"}',
        '{"ev":"XZ","n":[NaN]}',
        "-0.0",
        '"\\u0041"',
    ],
)
def test_refused_event_is_kept_as_it_came_to_the_byte(codec: Codec, event: str) -> None:
    decoded = decode(codec, f"[{TRADE} ,{event},\r{QUOTE}]")
    assert decoded.quarantine["raw"].to_pylist() == [event.strip().encode()]
    assert decoded.tables["crypto_trades"].num_rows == 1
    assert decoded.tables["crypto_quotes"].num_rows == 1


def test_half_of_a_surrogate_pair_matters_only_where_it_would_be_stored(codec: Codec) -> None:
    unread = changed(TRADE, note="\ud800")
    read = [changed(TRADE, i="\ud800"), changed(TRADE, t="\ud800"), changed(TRADE, x="\ud800")]
    decoded = decode(codec, f"[{','.join([unread, *read])}]")
    assert decoded.tables["crypto_trades"].num_rows == 1
    reasons = decoded.quarantine["reason"].to_pylist()
    assert reasons == ["bad_trade_id", "bad_time", "bad_exchange"]


def test_nesting_is_no_fault_by_itself_but_a_refused_event_of_such_a_frame_takes_it_along(
    codec: Codec,
) -> None:
    deep = TRADE.replace('"r"', '"z":' + "[" * 101 + "]" * 101 + ',"r"')
    assert decode(codec, f"[{deep}]").tables["crypto_trades"].num_rows == 1
    frame = f"[{deep},1]".encode()
    decoded = decode(codec, frame, f"[{TRADE}]")
    assert decoded.quarantine.select(["reason", "raw"]).to_pylist() == [
        {"reason": "too_deep", "raw": frame}
    ]
    assert decoded.tables["crypto_trades"].num_rows == 1


BAD_FRAMES = [
    (b"not json", "not_json"),
    (b"", "not_json"),
    (b'[{"ev":"XT"', "not_json"),
    (b'[{"ev":"XT","pair":"\xff"}', "not_utf8"),
    (b'{"ev":"XT"}', "not_an_array"),
    (b"7", "not_an_array"),
    (b"[" * 5000, "not_json"),
    (b'[{"ev":' + b"[" * 300 + b"]" * 300 + b"}]", "too_deep"),
    (b"[" + b"0," * 65_536 + b"0]", "too_many_events"),
]


@pytest.mark.parametrize(
    ("raw", "reason"), BAD_FRAMES, ids=[f"{r}-{i}" for i, (_, r) in enumerate(BAD_FRAMES)]
)
def test_frame_that_cannot_be_split_is_quarantined_whole_and_its_neighbours_stored(
    codec: Codec, raw: bytes, reason: str
) -> None:
    decoded = decode(codec, f"[{TRADE}]", raw, f"[{TRADE}]")
    [row] = decoded.quarantine.to_pylist()
    assert (row["reason"], row["raw"], row["place"]) == (reason, raw, "frame 6 event 0 $")
    assert decoded.tables["crypto_trades"]["seq"].to_pylist() == [5 << 16, 7 << 16]
    assert decoded.events == 3


@pytest.mark.parametrize(
    "wrong",
    [
        b'{"ev":"XT","pair":"BTC-USD","note":"\xff"}',
        b'{"ev":"status","message":"\xc3"}',
        TRADE.encode().replace(b"BTC", b"B\x80C"),
        b'{"ev":"\xed\xa0\x80"}',
    ],
)
def test_an_event_that_is_not_utf8_is_quarantined_and_the_rest_of_its_frame_stored(
    codec: Codec, wrong: bytes
) -> None:
    good = TRADE.encode()
    decoded = decode(codec, b"[%b,%b,%b]" % (good, wrong, good))
    [row] = decoded.quarantine.to_pylist()
    assert (row["reason"], row["raw"], row["place"]) == ("not_utf8", wrong, "frame 5 event 1 $[1]")
    assert [seq & 0xFFFF for seq in decoded.tables["crypto_trades"]["seq"].to_pylist()] == [0, 2]


def test_fuzzed_frames_crash_nothing_and_lose_nothing_else(codec: Codec) -> None:
    chance = random.Random(7)
    good = f"[{TRADE},{QUOTE}]".encode()
    raw = []
    for _ in range(3_000):
        broken = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        raw += [bytes(broken).replace(b"\n", b" "), good]
    decoded = codec.decode(frames_of(raw, received_us=NOW_US))
    for name in ("crypto_trades", "crypto_quotes"):
        numbers = {seq >> 16 for seq in decoded.tables[name]["seq"].to_pylist()}
        assert numbers >= set(range(2, len(raw) + 1, 2))
    stored = sum(table.num_rows for table in decoded.tables.values())
    held = decoded.quarantine.num_rows
    assert stored + held + sum(decoded.ignored.values()) == decoded.events
    assert "decoder_fault" not in decoded.quarantine["reason"].to_pylist()

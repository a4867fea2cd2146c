"""The columnar decoder of Binance gives what the reference gives, whatever the frames hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.feeds.binance import BinanceCodec
from lake.feeds.binance_columns import BinanceColumns
from lake.feeds.codec import Decoded
from tests.feeds.generated_frames import NOW_MS, NOW_US, assert_same, changed, written

TRADE: dict[str, Any] = {
    "e": "trade",
    "E": NOW_MS,
    "T": NOW_MS,
    "s": "BTCUSDT",
    "t": 5266583935,
    "p": "61800.30",
    "q": "0.006",
    "X": "MARKET",
    "m": False,
}
QUOTE: dict[str, Any] = {
    "e": "bookTicker",
    "u": 5123107839020,
    "s": "BTCUSD_PERP",
    "b": "61800.20",
    "B": "2.507",
    "a": "61800.30000000",
    "A": "2510",
    "T": NOW_MS,
    "E": NOW_MS,
}
SPOT_QUOTE = {name: value for name, value in QUOTE.items() if name not in "eTE"}
DEPTH = {"e": "depthUpdate", "E": NOW_MS, "s": "BTCUSDT", "b": [["1.0", "0"]] * 9, "a": []}
EVENTS = [TRADE, TRADE, QUOTE, QUOTE, SPOT_QUOTE, DEPTH, {"lastUpdateId": 7, "bids": []}]
FIELDS = sorted({*TRADE, *QUOTE})
spellings = st.one_of(
    st.from_regex(r"[0-9]{0,9}\.?[0-9]{0,10}", fullmatch=True),
    st.from_regex(r"[-+]?[0-9]{0,9}\.?[0-9]{0,10}(e[-+]?[0-9]{1,2})?", fullmatch=True),
)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Draw a frame: bare or of a combined stream, right or wrong."""
    event = dict(draw(st.sampled_from(EVENTS)))
    for name in draw(st.sampled_from(["", "pq", "bBaA"])):
        event[name] = draw(spellings)
    event = draw(changed(event, FIELDS))
    whole: Any = {"stream": draw(st.sampled_from(["btcusdt@trade", "x"])), "data": event}
    if not draw(st.integers(0, 9)):
        whole = draw(changed(whole, ["stream", "data"]))
    return draw(written(draw(st.sampled_from([event, whole, whole]))))


def combined(event: dict[str, Any]) -> bytes:
    """Return a frame with nothing wrong."""
    found = {"stream": "btcusdt@trade", "data": event}
    return json.dumps(found, separators=(",", ":")).encode()


def same(raw: list[bytes], received_us: int = NOW_US) -> Decoded:
    return assert_same(BinanceColumns("usdm"), BinanceCodec("usdm"), raw, received_us)


@settings(max_examples=150, deadline=None)
@given(st.lists(frames(), min_size=1, max_size=6), st.sampled_from([NOW_US, NOW_US, 0]))
def test_same_as_reference_for_any_frames(raw: list[bytes], received_us: int) -> None:
    same(raw, received_us)


RIGHT = combined(TRADE)
TRAPS = [
    RIGHT[:-1],
    RIGHT + b"}",
    RIGHT + RIGHT,
    RIGHT[:-1] + b',"x":{}}',
    RIGHT[:-1] + b',"x":1}',
    RIGHT.replace(b'"data"', b'"other":{},"data"'),
    RIGHT.replace(b"btcusdt@", b"btc\xffusdt@"),
    RIGHT.replace(b"btcusdt@", b"btc\\ud800@"),
    RIGHT.replace(b"btcusdt@", b"btc\\n@"),
    RIGHT.replace(b"btcusdt@", b"btc\n@"),
    RIGHT.replace(b'"BTCUSDT"', b"12"),
    RIGHT.replace(b'"BTCUSDT"', b'"12"'),
    RIGHT.replace(b'"BTCUSDT"', b'["BTCUSDT"]'),
    RIGHT.replace(b"61800.30", b"1e5"),
    RIGHT.replace(b"61800.30", b"1e+5"),
    RIGHT.replace(b"61800.30", b"+61800.30"),
    RIGHT.replace(b"61800.30", b".5"),
    RIGHT.replace(b"61800.30", b"5."),
    RIGHT.replace(b"61800.30", b"inf"),
    RIGHT.replace(b"61800.30", b" 1"),
    RIGHT.replace(b"61800.30", b"1_0"),
    RIGHT.replace(b"61800.30", b"0.12345678901"),
    RIGHT.replace(b"61800.30", b"123456789012.1234567890"),
    RIGHT.replace(b"61800.30", b"0.300000000000000044"),
    RIGHT.replace(b'"61800.30"', b"61800.30"),
    RIGHT.replace(b'"61800.30"', b"true"),
    RIGHT.replace(b'"61800.30"', b"[1]"),
    RIGHT.replace(b"false", b'"false"'),
    RIGHT.replace(b"false", b"0"),
    RIGHT.replace(b"false", b"null"),
    RIGHT.replace(b"5266583935", b'"5266583935"'),
    RIGHT.replace(b"5266583935", b"5266583935.0"),
    RIGHT.replace(b"5266583935", b"9223372036854775808"),
    RIGHT.replace(b"5266583935", b"-1"),
    RIGHT.replace(b"5266583935", b"-0"),
    RIGHT.replace(b"MARKET", b"INSURANCE_FUND"),
    RIGHT.replace(b'"MARKET"', b"null"),
    RIGHT.replace(b'"MARKET"', b'""'),
    combined({**TRADE, "T": NOW_US}),
    combined({**TRADE, "T": NOW_MS + 60_001}),
    combined({**TRADE, "T": NOW_US + 60_000_001}),
    combined({**TRADE, "T": NOW_MS // 1000}),
    combined({**TRADE, "T": 10**15 - 1}),
    combined({**TRADE, "T": None}),
    combined({**QUOTE, "T": None}),
    combined({**QUOTE, "T": 0}),
    combined({**QUOTE, "u": None}),
    combined({**QUOTE, "u": -1}),
    combined({**QUOTE, "B": "0"}),
    combined({**QUOTE, "b": "0"}),
    combined({**SPOT_QUOTE, "e": None}),
    combined({**SPOT_QUOTE, "B": None}),
    combined({"result": None, "id": 1}),
    RIGHT.replace(b'"p"', b'"p":"5","p"'),
    RIGHT.replace(b'"T"', b'"T":1,"T"'),
    RIGHT.replace(b'"X"', b'"X":"NA","X" '),
    RIGHT[RIGHT.index(b'{"e"') : -1].replace(b'"X"', b'"stream":"x","X"'),
    RIGHT[RIGHT.index(b'{"e"') : -1].replace(b'"X"', b'"stream":"x","data":{},"X"'),
    b'{"u":1}',
    b'{"e":"trade",}',
    b'{"e":"trade","e":{}}'[:-4] + b"}",
    b'{"e":"trade","x":' + b"[" * 1100 + b"]" * 1100 + b"}",
    b'{"e":"trade","x":' + b"[" * 600 + b"]" * 600 + b"}",
]


@pytest.mark.parametrize("raw", TRAPS, ids=range(len(TRAPS)))
@pytest.mark.parametrize("received_us", [NOW_US, 0])
def test_same_as_reference_for_known_traps(raw: bytes, received_us: int) -> None:
    same([raw], received_us)
    same([combined(QUOTE), raw, combined(TRADE)], received_us)

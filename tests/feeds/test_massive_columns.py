"""The quick decoders of Massive give what the reference gives, whatever the frames hold."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.feeds.codec import Decoded, frames_of
from lake.feeds.massive import MassiveCodec
from lake.feeds.massive_columns import MassiveColumns
from lake.feeds.massive_lists import MassiveLists
from tests.exchange.listening import ANSWER_S_MAX, exchange, statuses, subscribed
from tests.feeds.generated_frames import NOW_MS, NOW_US, assert_same, changed, written

TRADE = {
    "ev": "XT",
    "pair": "BTC-USD",
    "p": 33021.9,
    "t": NOW_MS,
    "s": 0.01616617,
    "c": [2],
    "i": 14272084,
    "x": 3,
    "r": NOW_MS,
}
QUOTE = {
    "ev": "XQ",
    "pair": "BTC-USD",
    "bp": 33052.79,
    "bs": 0.48,
    "ap": 33073.19,
    "as": 0.601,
    "t": NOW_MS,
    "x": 1,
    "r": NOW_MS,
}
MINUTE = {
    "ev": "XA",
    "pair": "BCD-USD",
    "v": 951.6112,
    "vw": 0.7756,
    "z": 73,
    "o": 0.772,
    "c": 0.784,
    "h": 0.784,
    "l": 0.771,
    "s": NOW_MS - 60_000,
    "e": NOW_MS,
}
STATUS = {"ev": "status", "status": "success", "message": "subscribed to: XT.BTC-USD"}
EVENTS: list[dict[str, Any]] = [TRADE, QUOTE, MINUTE, {**MINUTE, "ev": "XAS"}, STATUS]
FIELDS = sorted({name for event in EVENTS for name in event})

odd_codes = st.lists(st.one_of(st.integers(-1, 4), st.sampled_from([True, 1.0, "1", None])))


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Draw a frame of up to five events, right or wrong."""
    listed = []
    for _ in range(draw(st.integers(0, 5))):
        event = dict(draw(st.sampled_from(EVENTS)))
        if draw(st.integers(0, 2)):
            event["p"] = draw(st.integers(1, 10**9)) / 100
            event["s"] = draw(st.integers(0, 10**12)) / 10**8
        if not draw(st.integers(0, 5)):
            event["c"] = draw(odd_codes)
        event = draw(changed(event, FIELDS))
        listed.append(draw(st.sampled_from([event] * 30 + [[event], None, 1, "x", [], {}])))
    return draw(written(listed))


def right(count: int = 3) -> bytes:
    """Return a frame with nothing wrong."""
    return json.dumps([TRADE, QUOTE][:count], separators=(",", ":")).encode()


def same(raw: list[bytes], received_us: int = NOW_US) -> Decoded:
    assert_same(MassiveLists("sim"), MassiveCodec("sim"), raw, received_us)
    return assert_same(MassiveColumns("sim"), MassiveCodec("sim"), raw, received_us)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(frames(), min_size=1, max_size=6), st.sampled_from([NOW_US, 0, NOW_US - 61_000_000])
)
def test_same_as_reference_for_any_frames(raw: list[bytes], received_us: int) -> None:
    same(raw, received_us)


@settings(max_examples=80, deadline=None)
@given(frames())
def test_one_odd_frame_among_right_ones_changes_only_itself(odd: bytes) -> None:
    raw = [right()] * 3 + [odd] + [right()] * 3
    assert same(raw).events == same([odd]).events + 12


@pytest.mark.parametrize("number", [b"14272084", b'"14272084"', b"0", b"9007199254740993"])
def test_plain_frames_by_lists_need_no_reference(number: bytes) -> None:
    raw = [right().replace(b"14272084", number)] * 3
    rows, rest = MassiveLists("sim").plain(frames_of(raw))
    assert rest is None
    assert rows["crypto_trades"].texts("trade_id") == [number.decode().strip('"')] * 3
    assert len(rows["crypto_quotes"]) == 3
    same(raw)


def test_frames_of_the_simulated_exchange_by_lists_need_no_reference() -> None:
    async def scenario() -> list[bytes]:
        async with exchange(rate=2_000) as (_, url), subscribed(url, "XT.*", "XQ.*") as socket:
            await statuses(socket, 2)
            async with asyncio.timeout(ANSWER_S_MAX):
                return [await socket.recv(decode=False) for _ in range(50)]

    rows, rest = MassiveLists("sim").plain(frames_of(asyncio.run(scenario())))
    assert rest is None
    assert min(len(found) for found in rows.values()) > 0


TRAPS = [
    b'[{"ev":"XT"}, {"ev":"XQ"}]',
    right(1)[:-1] + b", " + right(2)[1:],
    right(1) + right(1),
    right(1)[:-1] + b"],[" + right(1)[1:],
    right(1)[:-1] + b" " + right(1)[1:],
    right(1)[:-1] + right(1)[1:],
    right(1)[:-1] + b",1,[{}]]",
    right(1)[:-1] + b',"}]',
    b"[{}]",
    b"[{},{}]",
    b"[[{}]]",
    b"[{}}]",
    b"[{,}]",
    b'[{"ev":"XT},{"}]',
    b'[{"ev":"XT\\"},{\\""}]',
    right(1).replace(b"33021.9", b"33021.90000"),
    right(1).replace(b"33021.9", b"3.30219e4"),
    right(1).replace(b"33021.9", b"033021.9"),
    right(1).replace(b"33021.9", b"+33021.9"),
    right(1).replace(b"33021.9", b"33021."),
    right(1).replace(b"33021.9", b"1e400"),
    right(1).replace(b"33021.9", b"NaN"),
    right(1).replace(b"33021.9", b"Infinity"),
    right(1).replace(b"33021.9", b'"33021.9"'),
    right(1).replace(b"33021.9", b"true"),
    right(1).replace(b"33021.9", b"0.1234567890123456789"),
    right(1).replace(b"33021.9", b"123456789012.12345678"),
    right(1).replace(b"14272084", b'"14272084"'),
    right(1).replace(b"14272084", b"014272084"),
    right(1).replace(b"14272084", b"-0"),
    right(1).replace(b"14272084", b"-5"),
    right(1).replace(b"14272084", b"1.0"),
    right(1).replace(b"14272084", b"1e3"),
    right(1).replace(b"14272084", b"true"),
    right(1).replace(b"14272084", b'"007"'),
    right(1).replace(b"14272084", b'"+7"'),
    right(1).replace(b"14272084", b'" 7"'),
    right(1).replace(b"14272084", b'"-0"'),
    right(1).replace(b"14272084", b"18446744073709551615"),
    right(1).replace(b"14272084", b"9223372036854775808"),
    right(1).replace(b"14272084", b"99999999999999999999999"),
    right(1).replace(b"[2]", b"[ 2 ]"),
    right(1).replace(b"[2]", b"[2,1]"),
    right(1).replace(b"[2]", b"[2.0]"),
    right(1).replace(b"[2]", b'"[2]"'),
    right(1).replace(b"[2]", b"2"),
    right(1).replace(b"[2]", b'"2"'),
    right(1).replace(b"[2]", b"null"),
    right(1).replace(b"[2]", b"[null]"),
    right(1).replace(b"[2]", b"[true]"),
    right(1).replace(b"[2]", b'["2"]'),
    right(1).replace(b'"x":3', b'"x":3.0'),
    right(1).replace(b'"x":3', b'"x":"3"'),
    right(1).replace(b'"x":3', b'"x":true'),
    right(1).replace(b'"x":3', b'"x":-0'),
    right(1).replace(b'"BTC-USD"', b'"BTC\\u002dUSD"'),
    right(1).replace(b'"BTC-USD"', b'"BTC-USD\\n"'),
    right(1).replace(b'"BTC-USD"', b"7"),
    right(1).replace(b'"ev"', b'"\\u0065v"'),
    right(1).replace(b'"XT"', b'["XT"]'),
    right(1).replace(b'"r"', b'"r":{"ev":"XQ"},"q"'),
    right(1).replace(b'"r"', b'"r\xff"'),
    right(1).replace(b'"r"', b'"r\xed\xa0\x80"'),
    right(1).replace(b'"r"', b'"r\t"'),
    right(1).replace(b'"r"', b'"r":"\\ud800","q"'),
    right(1).replace(b'"r"', b'"r":"\\x","q"'),
    right(1).replace(b'"p"', b'"p":5,"p"'),
    right(1).replace(b'"p":33021.9', b'"p":33021.9,"p":null'),
    right(1).replace(b'"p":33021.9', b'"p":null,"p":33021.9'),
    right(1).replace(b'"p":33021.9', b'"p" :5,"p":33021.9'),
    right(1).replace(b'"p":33021.9', b'"p":5,"p"\r:33021.9'),
    right(1).replace(b'"pair"', b'"pair":"A-B","pair"'),
    right(1).replace(b'"ev"', b'"ev":"XQ","ev"'),
    right(1).replace(b'"r"', b'"r":1,"r"'),
    right(1).replace(b'"r"', b'"q":":::","r"'),
    right(1).replace(b'"r"', b'"q":{"p":5},"r"'),
    b"\xef\xbb\xbf" + right(1),
    b" " + right(1),
    right(1) + b"\r",
    b"",
    b"[]",
    b"{}",
    b"null",
    b"[" + b"{}," * 70_000 + b"{}]",
    b"[" * 2000 + b"]" * 2000,
    b'[{"ev":' * 900 + b"1" + b"}]" * 900,
    right(1).replace(b"33021.9", b"[" * 600 + b"]" * 600),
    right(1).replace(b'"r"', b'"r":' + b"[" * 600 + b"]" * 600 + b',"q"'),
    right(1).replace(b'"r"', b'"z":"' + b"z" * (1 << 20) + b'","q"'),
    right(1).replace(b'"r"', b'"e":1,' * 10_000 + b'"q"'),
]


@pytest.mark.parametrize("raw", TRAPS, ids=range(len(TRAPS)))
def test_same_as_reference_for_known_traps(raw: bytes) -> None:
    same([raw])
    same([right(), raw, right()])


def test_doubled_key_reads_the_same_beside_any_neighbour() -> None:
    doubled = right(1).replace(b'"p"', b'"p":5,"p"')
    escaped = right(1).replace(b'"XT"', b'"\\u0058T"')
    for neighbours in ([], [right()], [escaped]):
        rows = same([doubled, *neighbours]).tables["crypto_trades"].to_pylist()
        assert str(rows[0]["price"]) == "33021.9000000000"

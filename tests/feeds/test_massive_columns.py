"""The columnar decoder of Massive gives what the reference gives, whatever the frames hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.feeds.codec import Decoded, Frames, frames_of
from lake.feeds.massive import MassiveCodec
from lake.feeds.massive_columns import MassiveColumns

NOW_US = 1_700_000_000_000_000
NOW_MS = NOW_US // 1000

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

numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(1, 10**12).map(lambda n: n / 10**8),
    st.decimals(0, 1_000_000, places=10).map(float),
    st.sampled_from([0, -0.0, -1, 1e-10, 1e-11, 0.1 + 0.2, 1e18, 922_337_203.7, 1e22, 5e-324]),
    st.sampled_from([NOW_MS + 0.0, NOW_MS + 0.5, NOW_US, NOW_MS // 1000, NOW_MS + 61_000]),
)
texts = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["BTC-USD", "btc-usd", "X-Y", "BTC-USD\n", "},{", "}]", "[{", "", "XT", "1.5"]),
    st.sampled_from(["nan", "NaN", "inf", "1e3", "0x10", " 1", "+1", "-5", "007", "1" * 19]),
    st.sampled_from(["'; DROP TABLE x; --", "../../etc/passwd", "\x00", "é", "\\", '"', "1" * 65]),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3)
    ),
    max_leaves=5,
)
odd_codes = st.lists(st.one_of(st.integers(-1, 4), st.sampled_from([True, 1.0, "1", None])))


@st.composite
def events(draw: st.DrawFn) -> Any:
    """Draw an event that is right, or has some fields replaced, removed or added."""
    event: dict[str, Any] = dict(draw(st.sampled_from(EVENTS)))
    if draw(st.integers(0, 2)):
        event["p"] = draw(st.integers(1, 10**9)) / 100
        event["s"] = draw(st.integers(0, 10**12)) / 10**8
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 1, 2]))):
        name = draw(st.sampled_from([*FIELDS, "extra", ""]))
        change = draw(st.integers(0, 3))
        if change == 0:
            event.pop(name, None)
        elif change == 1 and name in event:
            event[name] = json.dumps(event[name])
        else:
            event[name] = draw(odd_codes if name == "c" else values)
    return draw(st.sampled_from([event] * 30 + [[event], None, 1, "x", [], {}]))


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Draw a frame: an array of events in one of the ways to write JSON, or with bytes changed."""
    separators = draw(st.sampled_from([(",", ":")] * 6 + [(", ", ": "), (" ,", " :")]))
    ascii_only = draw(st.booleans())
    listed = draw(st.lists(events(), max_size=5))
    text = json.dumps(listed, separators=separators, ensure_ascii=ascii_only)
    raw = bytearray(text.encode(errors="replace"))
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 0, 1, 2, 3]))):
        at = draw(st.integers(0, max(len(raw) - 1, 0)))
        patch = draw(st.one_of(st.sampled_from(PATCHES), st.binary(max_size=2)))
        raw[at : at + draw(st.integers(0, 2))] = patch
    return bytes(raw)


PATCHES = [b"},{", b"}]", b"[{", b"}", b"{", b'"', b",", b" ", b"\n", b"\\", b"e", b"-", b"0", b"."]


def right(count: int = 3) -> bytes:
    """Return a frame with nothing wrong."""
    return json.dumps([TRADE, QUOTE][:count], separators=(",", ":")).encode()


def assert_same(raw: list[bytes]) -> None:
    """Compare both decoders over the frames."""
    given_frames = frames_of(raw, shard=3, first_frame=7, received_us=NOW_US, connection=2)
    fast, slow = both(given_frames)
    assert fast.quarantine.to_pylist() == slow.quarantine.to_pylist()
    assert (dict(fast.ignored), fast.events) == (dict(slow.ignored), slow.events)
    for name in sorted({*fast.tables, *slow.tables}):
        assert rows(fast, name) == rows(slow, name), name


def both(given_frames: Frames) -> tuple[Decoded, Decoded]:
    """Return what the columnar and what the reference decoder make of the frames."""
    return MassiveColumns().decode(given_frames), MassiveCodec("massive").decode(given_frames)


def rows(decoded: Decoded, name: str) -> list[dict[str, Any]]:
    """Return a dataset's rows, none where it has no table."""
    table = decoded.tables.get(name)
    found: list[dict[str, Any]] = table.to_pylist() if table is not None else []
    return found


@settings(max_examples=300, deadline=None)
@given(st.lists(frames(), min_size=1, max_size=6))
def test_same_as_reference_for_any_frames(raw: list[bytes]) -> None:
    assert_same(raw)


@settings(max_examples=150, deadline=None)
@given(frames())
def test_one_odd_frame_among_right_ones_changes_only_itself(odd: bytes) -> None:
    raw = [right()] * 3 + [odd] + [right()] * 3
    assert_same(raw)
    alone = MassiveColumns().decode(frames_of([odd], received_us=NOW_US))
    among = MassiveColumns().decode(frames_of(raw, received_us=NOW_US))
    assert among.events == alone.events + 12


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
    assert_same([raw])
    assert_same([right(), raw, right()])

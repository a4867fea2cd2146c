"""Frames drawn for the columnar decoders, right and wrong; comparison with the reference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from lake.feeds.codec import Codec, Decoded, frames_of
from lake.feeds.events import schema

NOW_US = 1_700_000_000_000_000
NOW_MS = NOW_US // 1000

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
names = st.sampled_from(["ev", "e", "p", "t", "T", "s", "data", "stream", ""])
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=5,
)
PATCHES = [b"},{", b"}]", b"[{", b"}", b"{", b'"', b",", b" ", b"\n", b"\\", b"e", b"-", b"0", b"."]


@st.composite
def changed(draw: st.DrawFn, event: dict[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """Draw the event as it is, or with some fields removed, quoted, replaced or added."""
    event = dict(event)
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 1, 2]))):
        name = draw(st.sampled_from([*fields, "extra", ""]))
        change = draw(st.integers(0, 3))
        if change == 0:
            event.pop(name, None)
        elif change == 1 and name in event:
            event[name] = json.dumps(event[name])
        else:
            event[name] = draw(values)
    return event


@st.composite
def written(draw: st.DrawFn, found: Any) -> bytes:
    """Draw one of the ways to write JSON, at times with bytes changed."""
    separators = draw(st.sampled_from([(",", ":")] * 6 + [(", ", ": "), (" ,", " :")]))
    text = json.dumps(found, separators=separators, ensure_ascii=draw(st.booleans()))
    raw = bytearray(text.encode(errors="replace"))
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 0, 1, 2, 3]))):
        at = draw(st.integers(0, max(len(raw) - 1, 0)))
        patch = draw(st.one_of(st.sampled_from(PATCHES), st.binary(max_size=2)))
        raw[at : at + draw(st.integers(0, 2))] = patch
    return bytes(raw)


def assert_same(fast: Codec, slow: Codec, raw: list[bytes], received_us: int = NOW_US) -> Decoded:
    """Compare both decoders over the frames; return what they gave."""
    given = frames_of(raw, shard=3, first_frame=7, received_us=received_us, connection=2)
    found, truth = fast.decode(given), slow.decode(given)
    assert found.quarantine.to_pylist() == truth.quarantine.to_pylist()
    assert "decoder_fault" not in truth.quarantine["reason"].to_pylist()
    assert (dict(found.ignored), found.events) == (dict(truth.ignored), truth.events)
    for name in sorted({*found.tables, *truth.tables}):
        assert rows(found, name) == rows(truth, name), name
    for name, table in found.tables.items():
        assert table.schema.equals(schema(name)), name
    return found


def rows(decoded: Decoded, name: str) -> list[dict[str, Any]]:
    """Return a dataset's rows, none where it has no table."""
    table = decoded.tables.get(name)
    found: list[dict[str, Any]] = table.to_pylist() if table is not None else []
    return found

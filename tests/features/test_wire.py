"""Feast's bytes without Feast: the same as its own code makes and reads."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from feast.infra.online_stores.helpers import _mmh3, _redis_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.store import wire

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(WORDS, st.tuples(WORDS, WORDS, WORDS, WORDS))
def test_a_key_is_feast_s(project: str, series: tuple[str, str, str, str]) -> None:
    values = [Value(string_val=each) for each in series]
    key = EntityKey(join_keys=list(wire.KEYS), entity_values=values)
    assert wire.hash_key(project, series) == _redis_key(project, key)


@given(WORDS, WORDS)
def test_a_field_is_feast_s(view: str, feature: str) -> None:
    assert wire.field(view, feature) == _mmh3(f"{view}:{feature}")


@given(st.lists(st.none() | st.floats()))
def test_doubles_are_feast_s_bit_for_bit(values: list[float | None]) -> None:
    absent = np.array([each is None for each in values], bool)
    made = wire.doubles(
        np.array([0.0 if each is None else each for each in values], np.float64), absent
    )
    assert made == [
        b"" if each is None else Value(double_val=each).SerializeToString() for each in values
    ]
    bits, there = wire.bits([*made, None])
    assert there.tolist() == [*(each is not None for each in values), False]
    for bit, each in zip(bits[:-1].view(np.float64).tolist(), values, strict=True):
        if each is not None:
            assert bit == each or (math.isnan(bit) and math.isnan(each))


@given(st.integers(0, 10**16))
def test_a_time_is_feast_s(event_us: int) -> None:
    stamp = Timestamp()
    stamp.FromDatetime(EPOCH + timedelta(microseconds=event_us))
    held = wire.time_bytes(event_us)
    assert held == stamp.SerializeToString()
    assert wire.time_us(held) == event_us


@given(st.integers(0, 10**16), st.integers(-1, 10**16))
def test_when_values_were_known_is_told_of_their_event_time_alone(
    event_us: int, known_us: int
) -> None:
    held = wire.known_bytes(event_us, known_us)
    assert wire.known_us(held, event_us) == known_us
    assert wire.known_us(held, event_us + 1) == wire.known_us(None, event_us) == -1
    with pytest.raises(ValueError, match="no known time"):
        wire.known_us(b"text", event_us)


@given(st.binary(min_size=1, max_size=24))
def test_other_bytes_are_refused_or_read_as_feast_reads_them(held: bytes) -> None:
    try:
        bits, _ = wire.bits([held])
    except ValueError:
        return
    read = Value()
    read.ParseFromString(held)
    assert np.float64(read.double_val).view(np.int64) == bits[0] or math.isnan(read.double_val)


@pytest.mark.parametrize("held", [b"\x08", b"\x0b\x01", b"\x18\x01", b"\x08\x80"])
def test_what_is_no_time_is_refused(held: bytes) -> None:
    with pytest.raises(ValueError, match="not a time"):
        wire.time_us(held)

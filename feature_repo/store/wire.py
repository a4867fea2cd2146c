"""Feast's own bytes in Redis, made and read without Feast: whole columns at once.

A series is a hash. Its key is the serialised entity key (version 3) and the project; a field is
the murmur hash of `view:feature`, its value a `ValueProto`; `_ts:view` is the value's event time.
Any client of Feast reads what is written so, and the tests hold it to that. `_known:view` is ours:
when the value of that event time was known, which Feast has no field for and does not ask for.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import mmh3
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

STRING = 2
"""Feast's number of the type of keys' names, and of ours."""

DOUBLE_TAG = b"\x29"
"""Field 5 of ValueProto, double_val, of eight bytes."""

DOUBLE_BYTES = 9
NULL = b""
"""A ValueProto without a value: null."""

KEYS = ("exchange", "interval", "market", "ticker")
"""Join keys of a series in the order of a key's bytes, which is the alphabet's."""

SECOND_US = 1_000_000
KNOWN = struct.Struct("<qq")


def hash_key(project: str, series: Sequence[str]) -> bytes:
    """Return the key of a series' hash; series: values of KEYS, in their order."""
    names = [each.encode() for each in KEYS]
    values = [each.encode() for each in series]
    parts = [struct.pack("<I", len(names))]
    parts += [struct.pack("<II", STRING, len(each)) + each for each in names]
    parts += [struct.pack("<II", STRING, len(each)) + each for each in values]
    return b"".join([*parts, project.encode()])


def field(view: str, feature: str) -> bytes:
    """Return the name of a feature's field."""
    return struct.pack("<I", mmh3.hash(f"{view}:{feature}", signed=False))


def time_field(view: str) -> bytes:
    """Return the name of the field that holds the event time of a view's values."""
    return f"_ts:{view}".encode()


def known_field(view: str) -> bytes:
    """Return the name of the field that says when a view's values were known."""
    return f"_known:{view}".encode()


def known_bytes(event_us: int, known_us: int) -> bytes:
    """Return when values of an event time were known, both microseconds; b"" for -1, unknown."""
    return KNOWN.pack(event_us, known_us) if known_us >= 0 else b""


def known_us(held: bytes | None, event_us: int) -> int:
    """Return when the values of an event time were known; -1 where what is held does not say.

    Another writer of Feast's format leaves what it finds there: that is of an earlier time.
    Raises ValueError for other bytes.
    """
    if not held:
        return -1
    if len(held) != KNOWN.size:
        raise ValueError("no known time")
    of_us, found = KNOWN.unpack(held)
    return int(found) if of_us == event_us else -1


def doubles(values: Floats, absent: npt.NDArray[np.bool_]) -> list[bytes]:
    """Return the bytes of float64 values, bit for bit; null where absent."""
    raw = np.empty((len(values), DOUBLE_BYTES), np.uint8)
    raw[:, 0] = DOUBLE_TAG[0]
    raw[:, 1:] = values.astype("<f8").view(np.uint8).reshape(-1, 8)
    whole = raw.tobytes()
    cuts = range(0, len(whole), DOUBLE_BYTES)
    return [
        NULL if no else whole[cut : cut + DOUBLE_BYTES]
        for cut, no in zip(cuts, absent.tolist(), strict=True)
    ]


def bits(values: Sequence[bytes | None]) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Return the bits of stored doubles as int64, and which are there; others have bits 0.

    Raises ValueError for bytes that are no double.
    """
    there = np.array([bool(each) for each in values], bool)
    held = b"".join(each for each in values if each)
    raw = np.frombuffer(held, np.uint8)
    if len(held) != DOUBLE_BYTES * there.sum() or (raw[::DOUBLE_BYTES] != DOUBLE_TAG[0]).any():
        raise ValueError("not a double")
    found = np.zeros(len(there), np.int64)
    found[there] = np.ascontiguousarray(raw.reshape(-1, DOUBLE_BYTES)[:, 1:]).view("<i8").ravel()
    return found, there


def time_bytes(event_us: int) -> bytes:
    """Return a time after 1970, in microseconds since the epoch, as a protobuf Timestamp."""
    seconds, rest_us = divmod(event_us, SECOND_US)
    nanos = rest_us * 1_000
    return (b"\x08" + _varint(seconds) if seconds else b"") + (
        b"\x10" + _varint(nanos) if nanos else b""
    )


def time_us(held: bytes) -> int:
    """Return microseconds since the epoch; ValueError for bytes that are no Timestamp."""
    found = {1: 0, 2: 0}
    at = 0
    while at < len(held):
        number, kind = divmod(held[at], 8)
        at += 1
        value = shift = 0
        while True:
            if at >= len(held):
                raise ValueError("not a time")
            byte = held[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if kind or number not in found:
            raise ValueError("not a time")
        found[number] = value
    return found[1] * SECOND_US + found[2] // 1_000


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

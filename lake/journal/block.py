"""The journal's block: a run of frames of one connection, with one checksum; pure bytes.

    magic    4s   b"TLB1"
    crc32    u32  of everything after this field
    first    u64  number of the block's first frame
    count    u32  frames
    payload  u32  bytes of payload
    conn     i32  connection
    feed     u16  bytes of the feed's name
    kind     u16  0 venue frames, 1 our own control records
    feed name | lengths u32[count] | received_us i64[count] | payload

Payload: each frame followed by one newline, so that frames that hold none can be decoded as
newline-delimited JSON without another copy. A block is written and synced whole; a torn one fails
its checksum and was never acknowledged.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lake.errors import Damaged

HEADER = struct.Struct("<4sIQIIiHH")
MAGIC = b"TLB1"
KIND_FRAMES = 0
KIND_CONTROL = 1
FRAME_BYTES_MAX = 64 << 20
"""A larger frame is refused by the socket before it reaches the journal."""


@dataclass(frozen=True, slots=True)
class Block:
    """A decoded block; lengths count the frame without its newline."""

    feed: str
    kind: int
    connection: int
    first_frame: int
    lengths: npt.NDArray[np.uint32]
    received_us: npt.NDArray[np.int64]
    payload: bytes

    @property
    def last_frame(self) -> int:
        """Number of the last frame, inclusive."""
        return self.first_frame + len(self.lengths) - 1


def encode(
    feed: str,
    kind: int,
    connection: int,
    first_frame: int,
    frames: list[bytes],
    received_us: list[int],
) -> bytes:
    """Return the bytes of one block."""
    name = feed.encode()
    lengths = np.fromiter(map(len, frames), np.uint32, len(frames))
    payload = b"\n".join(frames) + b"\n"
    body = b"".join((name, lengths.tobytes(), np.asarray(received_us, np.int64).tobytes(), payload))
    head = HEADER.pack(
        MAGIC, 0, first_frame, len(frames), len(payload), connection, len(name), kind
    )
    crc = zlib.crc32(body, zlib.crc32(head[8:]))
    return head[:4] + crc.to_bytes(4, "little") + head[8:] + body


def size_of(head: bytes) -> int:
    """Return the whole block's size in bytes, from its header; 0 if this is no header."""
    if len(head) < HEADER.size or head[:4] != MAGIC:
        return 0
    _, _, _, count, payload, _, name, _ = HEADER.unpack_from(head)
    return int(HEADER.size + name + 12 * count + payload)


def first_and_count(head: bytes) -> tuple[int, int]:
    """Return the first frame and the number of frames, from a header."""
    _, _, first, count, *_ = HEADER.unpack_from(head)
    return first, count


def is_intact(raw: bytes) -> bool:
    """Tell whether raw is exactly one block whose checksum holds."""
    if size_of(raw) != len(raw) or not raw:
        return False
    return zlib.crc32(raw[8:]) == int.from_bytes(raw[4:8], "little")


def decode(raw: bytes, place: str) -> Block:
    """Return the block in raw; raises Damaged when its checksum fails."""
    if not is_intact(raw):
        raise Damaged(place, "a journal block fails its checksum", "restore this segment")
    _, _, first, count, payload, connection, name, kind = HEADER.unpack_from(raw)
    at = HEADER.size
    feed = raw[at : at + name].decode()
    at += name
    lengths = np.frombuffer(raw, np.uint32, count, at)
    at += 4 * count
    received_us = np.frombuffer(raw[at : at + 8 * count], np.int64)
    at += 8 * count
    return Block(feed, kind, connection, first, lengths, received_us, raw[at : at + payload])

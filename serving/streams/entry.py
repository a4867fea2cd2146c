"""An entry of a shard's stream: a slice of frames and what was dropped before it; pure bytes.

    magic 4s "TLS1" | number u64 | frames u32 | drops u32 | connection i32 | recorded u8 | feed u8
    feed name | drops as JSON | frame numbers i64[] | received_us i64[] | lengths u32[] | payload

Payload: each frame followed by one newline, as in the journal. number counts the entries of an
epoch from 0 without a hole: who finds one has lost entries to trimming.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import orjson

from lake.errors import Damaged
from lake.feeds.codec import Frames

HEADER = struct.Struct("<4sQIIiBB")
MAGIC = b"TLS1"
Kind = Literal["quotes", "trades"]


@dataclass(frozen=True, slots=True)
class Drop:
    """Frames of a feed that were left out: of one kind, between two frames, both inclusive.

    Times are those of their receipt, in UTC microseconds. trades: nothing but quotes was not known
    to be all of it.
    """

    feed: str
    kind: Kind
    count: int
    first_frame: int
    last_frame: int
    from_us: int
    to_us: int

    def joined(self, other: Drop) -> Drop:
        """Return both as one."""
        return Drop(
            self.feed,
            self.kind,
            self.count + other.count,
            min(self.first_frame, other.first_frame),
            max(self.last_frame, other.last_frame),
            min(self.from_us, other.from_us),
            max(self.to_us, other.to_us),
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """A slice of frames of one connection, not necessarily one after another."""

    number: int
    feed: str
    connection: int
    recorded: bool
    numbers: npt.NDArray[np.int64]
    received_us: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.uint32]
    payload: bytes
    drops: tuple[Drop, ...] = ()

    def runs(self, shard: int) -> list[Frames]:
        """Return its frames as codecs take them: a run for each stretch without a hole."""
        if not len(self.numbers):
            return []
        offsets = np.zeros(len(self.numbers) + 1, np.int64)
        np.cumsum(self.lengths.astype(np.int64) + 1, out=offsets[1:])
        cuts = [0, *self._holes(), len(self.numbers)]
        return [
            Frames(
                shard,
                int(self.numbers[start]),
                self.payload[int(offsets[start]) : int(offsets[stop])],
                offsets[start : stop + 1] - offsets[start],
                self.received_us[start:stop],
                np.full(stop - start, self.connection, np.int32),
            )
            for start, stop in pairwise(cuts)
        ]

    def _holes(self) -> list[int]:
        """Return the places of frames before which one is missing; numbers rise."""
        if int(self.numbers[-1]) - int(self.numbers[0]) == len(self.numbers) - 1:
            return []
        found: list[int] = (np.flatnonzero(np.diff(self.numbers) != 1) + 1).tolist()
        return found


def dump(
    number: int,
    feed: str,
    connection: int,
    recorded: bool,
    numbers: Sequence[int],
    received_us: Sequence[int],
    frames: Sequence[bytes],
    drops: Sequence[Drop] = (),
) -> bytes:
    """Return the bytes of one entry."""
    name = feed.encode()
    said = orjson.dumps([asdict(each) for each in drops]) if drops else b""
    head = HEADER.pack(MAGIC, number, len(frames), len(said), connection, recorded, len(name))
    return b"".join(
        (
            *(head, name, said),
            np.asarray(numbers, np.int64).tobytes(),
            np.asarray(received_us, np.int64).tobytes(),
            np.fromiter(map(len, frames), np.uint32, len(frames)).tobytes(),
            *(b"\n".join(frames), b"\n" if frames else b""),
        )
    )


def load(raw: bytes, place: str) -> Entry:
    """Return the entry in raw; raises Damaged for anything that dump() did not write."""
    try:
        magic, number, count, said, connection, recorded, name = HEADER.unpack_from(raw)
        at = HEADER.size
        feed = raw[at : at + name].decode()
        at += name
        drops = orjson.loads(raw[at : at + said]) if said else ()
        at += said
        numbers = np.frombuffer(raw[at : at + 8 * count], np.int64)
        at += 8 * count
        received_us = np.frombuffer(raw[at : at + 8 * count], np.int64)
        at += 8 * count
        lengths = np.frombuffer(raw[at : at + 4 * count], np.uint32)
        payload = raw[at + 4 * count :]
        whole = len(payload) == int(lengths.astype(np.int64).sum()) + count
        if magic != MAGIC or len(lengths) != count or not whole:
            raise ValueError("its parts do not fit")
        drops = tuple(Drop(**each) for each in drops)
        head = number, feed, connection, bool(recorded)
        return Entry(*head, numbers, received_us, lengths, payload, drops)
    except (struct.error, ValueError, TypeError) as error:
        fault = f"is no entry of ours ({error})"
        raise Damaged(place, fault, "which version wrote it? remove the stream") from error

"""What every feed codec takes and gives: journalled frames in, Arrow columns out.

A codec is a pure function of the frames. Decoding the same frames again gives the same rows, the
same quarantine and the same counts; that is what recovery, `verify` and replay stand on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.feeds.instrument_words import Told

INDEX_BITS = 16
"""Bits of `seq` that number the events of one frame."""

EVENTS_PER_FRAME_MAX = 1 << INDEX_BITS
"""A frame with more events than this is quarantined whole: its events could not be numbered."""

EVENT_BYTES_MAX = 1 << 20
"""An event larger than 1 MiB is quarantined."""

FUTURE_US_MAX = 60_000_000
"""An event time more than 60 s after its receipt is quarantined (wrong unit or wrong clock)."""

EVENT_TIME_US_MIN = 1_230_768_000_000_000
"""2009-01-01T00:00Z: before any crypto market; an earlier event time is in the wrong unit."""


@dataclass(frozen=True, slots=True)
class Frames:
    """A contiguous run of frames of one feed, as the journal gives them.

    payload holds the raw frames, each followed by one newline byte that is not part of it; frame i
    is payload[offsets[i] : offsets[i + 1] - 1] and has number first_frame + i.
    received_us: int64, UTC microseconds; connection: int32.
    """

    shard: int
    first_frame: int
    payload: bytes
    offsets: npt.NDArray[np.int64]
    received_us: npt.NDArray[np.int64]
    connection: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.received_us)

    def __getitem__(self, i: int) -> bytes:
        return self.payload[self.offsets[i] : self.offsets[i + 1] - 1]

    def __iter__(self) -> Iterator[bytes]:
        bounds = self.offsets.tolist()
        payload = self.payload
        for start, end in pairwise(bounds):
            yield payload[start : end - 1]

    @property
    def last_frame(self) -> int:
        """Number of the last frame, inclusive."""
        return self.first_frame + len(self) - 1

    def after(self, number: int) -> Frames:
        """Return the frames beyond one, by its number."""
        known = number + 1 - self.first_frame
        return self.slice(known, len(self)) if known > 0 else self

    def slice(self, start: int, stop: int) -> Frames:
        """Return frames start (inclusive) to stop (exclusive), counted from 0 in this run."""
        lo, hi = int(self.offsets[start]), int(self.offsets[stop])
        return Frames(
            self.shard,
            self.first_frame + start,
            self.payload[lo:hi],
            self.offsets[start : stop + 1] - lo,
            self.received_us[start:stop],
            self.connection[start:stop],
        )


def frames_of(
    raw: list[bytes],
    *,
    shard: int = 0,
    first_frame: int = 1,
    received_us: int | list[int] = 0,
    connection: int = 0,
) -> Frames:
    """Build Frames from raw frames; received_us is one time for all, or one each."""
    lengths = np.fromiter((len(frame) + 1 for frame in raw), np.int64, len(raw))
    return Frames(
        shard,
        first_frame,
        b"".join(frame + b"\n" for frame in raw),
        np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        np.broadcast_to(np.asarray(received_us, np.int64), (len(raw),)).copy(),
        np.full(len(raw), connection, np.int32),
    )


@dataclass(frozen=True, slots=True)
class Decoded:
    """The outcome of decoding a run of frames; every event is in exactly one class.

    tables: dataset -> rows in the contract's column order, seq ascending.
    quarantine: rows of the quarantine contract (feed and connection included).
    ignored: kind -> events (subscription replies, heartbeats, order-book updates, ...).
    events: rows in tables + quarantine rows + ignored events; a frame that can't be split counts
    as one event, an empty array frame as one ignored event of kind "empty".
    told: what ignored events say of instruments, in their order.
    """

    tables: Mapping[str, pa.Table]
    quarantine: pa.Table
    ignored: Mapping[str, int]
    events: int
    told: tuple[Told, ...] = ()


class Codec(Protocol):
    """Decode one venue's frames.

    ids_contiguous says that trade ids of an instrument rise by exactly one, so that a jump is a
    hole: something was missed.
    """

    feed: str
    version: int
    ids_contiguous: bool

    def decode(self, frames: Frames) -> Decoded:
        """Return every event of frames, classed; never raises for what a frame contains."""

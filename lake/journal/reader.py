"""Read durable frames of a journal in order, in runs that one codec can decode at once."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lake.errors import Damaged, Unavailable
from lake.feeds.codec import Frames
from lake.journal import block, segment
from lake.journal.durable import DurableFrame


@dataclass(frozen=True, slots=True)
class Run:
    """Contiguous frames of one feed (or control records of one feed)."""

    feed: str
    control: bool
    frames: Frames


class JournalReader:
    """A cursor over one shard's journal; sees only what has been published as durable.

    known_frame: durable for certain, though a power cut may have taken the published word.
    """

    def __init__(self, directory: Path, shard: int, *, known_frame: int = 0) -> None:
        self.directory = directory
        self.shard = shard
        self._known_frame = known_frame
        self._word: DurableFrame | None = None
        self._descriptor = -1
        self._offset = 0
        self._until = 0
        self._next = -1

    def durable(self) -> int:
        """Return the last durable frame, inclusive; 0 when there is none yet."""
        path = self.directory / "durable"
        if self._word is None and path.exists():
            self._word = DurableFrame(path)
        published = self._word.read() if self._word is not None else None
        return max(published or 0, self._known_frame)

    def read(self, first_frame: int, *, frames_max: int, bytes_max: int) -> list[Run]:
        """Return runs from first_frame (inclusive) on, whole blocks, in order; [] at the end.

        frames_max and bytes_max bound what is taken on; at least one block is returned when one is
        durable. Raises Damaged for a broken block, Unavailable when first_frame is no longer kept.
        """
        durable = self.durable()
        taken: list[block.Block] = []
        frames = size = 0
        want = first_frame
        while want <= durable and frames < frames_max and size < bytes_max:
            one = self._block_from(want)
            taken.append(one)
            frames += len(one.lengths)
            size += len(one.payload)
            want = one.last_frame + 1
        return _runs(taken, self.shard)

    def close(self) -> None:
        """Let go of the open segment."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._word is not None:
            self._word.close()
            self._word = None

    def _block_from(self, frame: int) -> block.Block:
        whole = None
        if self._next == frame:
            with suppress(Damaged):  # an abandoned segment's end: a later one has this block whole
                whole = self._read_block(frame)
        if whole is None:
            self._seek(frame)
            whole = self._read_block(frame)
        if whole is None:
            raise Damaged(
                str(self.directory),
                f"frame {frame} is missing",
                "restore its segment from a copy; there is none: ticklake restore --accept-loss",
            )
        self._next = whole.last_frame + 1
        return _from_frame(whole, frame)

    def _read_block(self, frame: int) -> block.Block | None:
        raw = self._scan_to(frame)
        return None if raw is None else block.decode(raw, str(self.directory))

    def _scan_to(self, frame: int) -> bytes | None:
        """Return the block that holds frame, moving the cursor past it; None if not here."""
        while True:
            head = os.pread(self._descriptor, block.HEADER.size, self._offset)
            size = block.size_of(head)
            if not size:
                return None
            first, count = block.first_and_count(head)
            if first > frame or first + count > self._until:
                return None
            if first + count > frame:
                raw = os.pread(self._descriptor, size, self._offset)
                self._offset += size
                return raw if len(raw) == size else None
            self._offset += size

    def _seek(self, frame: int) -> None:
        found = segment.segments(self.directory)
        holding = [each for each in found if each.first_frame <= frame]
        if not holding:
            raise Unavailable(
                str(self.directory),
                f"frame {frame} is no longer in the journal",
                "see: ticklake verify",
            )
        chosen = holding[-1]
        later = [each.first_frame for each in found if each.number > chosen.number]
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = os.open(chosen.path, os.O_RDONLY)
        self._offset = segment.HEADER.size
        self._until = min(later, default=1 << 62)


def _from_frame(whole: block.Block, frame: int) -> block.Block:
    skip = frame - whole.first_frame
    if skip == 0:
        return whole
    cut = int(whole.lengths[:skip].astype(np.int64).sum()) + skip
    return block.Block(
        whole.feed,
        whole.kind,
        whole.connection,
        frame,
        whole.lengths[skip:],
        whole.received_us[skip:],
        whole.payload[cut:],
    )


def _runs(taken: list[block.Block], shard: int) -> list[Run]:
    runs: list[Run] = []
    start = 0
    for i in range(1, len(taken) + 1):
        if i < len(taken) and _mergeable(taken[start], taken[i]):
            continue
        runs.append(_run(taken[start:i], shard))
        start = i
    return runs if taken else []


def _mergeable(a: block.Block, b: block.Block) -> bool:
    return a.feed == b.feed and a.kind == b.kind


def _run(same: list[block.Block], shard: int) -> Run:
    lengths = np.concatenate([each.lengths for each in same]).astype(np.int64)
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths + 1, out=offsets[1:])
    counts = [len(each.lengths) for each in same]
    frames = Frames(
        shard,
        same[0].first_frame,
        b"".join(each.payload for each in same),
        offsets,
        np.concatenate([each.received_us for each in same]),
        np.repeat(np.asarray([each.connection for each in same], np.int32), counts),
    )
    return Run(same[0].feed, same[0].kind == block.KIND_CONTROL, frames)

"""Append frames durably: the one way in.

Start-up is recovery: every start opens a new segment; the newest segment's torn tail is left out
and reported, and its intact blocks beyond the published frame are written again into the new
segment, since nobody knows whether their fsync ever happened. A failed fsync does the same with
its batch: after one, the kernel may have dropped the pages, so the segment is abandoned.

A segment supersedes earlier ones, so it gets its name only once it is whole and synced: a start
that dies halfway leaves the journal as it found it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lake.errors import DiskFull, Unavailable
from lake.journal import block, segment
from lake.journal.durable import DurableFrame
from lake.steps import Steps

SYNC_TRIES_MAX = 3
"""Segments abandoned in a row before intake stops: the disk is gone."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What the last start found: its last frame, bytes cut off, frames written again."""

    last_frame: int
    cut_bytes: int
    rewritten_frames: int
    lost_frames: int


class Journal:
    """One shard's journal, open for appending; exactly one process may hold it.

    append() only buffers; frames count as acknowledged when flush() has returned. stored: the last
    frame that the hot tier holds, where that is known: a journal that is gone, or older than that,
    goes on after it, since what would get a number at or below it would never be read.
    """

    def __init__(
        self,
        directory: Path,
        shard: int,
        *,
        segment_bytes_max: int,
        bytes_max: int,
        steps: Steps | None = None,
        stored: int | None = None,
    ) -> None:
        self.directory = directory
        self.shard = shard
        self._segment_bytes_max = segment_bytes_max
        self._bytes_max = bytes_max
        self._steps = steps or Steps()
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = lock(directory)
        self._durable = DurableFrame(directory / "durable", create=True)
        self._pending: list[bytes] = []
        self._descriptor = -1
        self._size = 0
        self._used = bytes_max
        try:
            self.recovery = self._recover(stored)
        except BaseException:
            self.close()
            raise

    @property
    def next_frame(self) -> int:
        """Number that the next appended frame will get."""
        return self._next

    def append(
        self,
        feed: str,
        connection: int,
        frames: list[bytes],
        received_us: list[int],
        *,
        control: bool = False,
    ) -> int:
        """Buffer frames as one block; return the number of the first."""
        first = self._next
        kind = block.KIND_CONTROL if control else block.KIND_FRAMES
        self._pending.append(block.encode(feed, kind, connection, first, frames, received_us))
        self._next += len(frames)
        return first

    def flush(self) -> int:
        """Make everything appended durable and let readers see it; return the last durable frame.

        Raises DiskFull when the disk or the journal's budget is, Unavailable when writes fail; then
        nothing of this batch is acknowledged, and a later flush tries it again.
        """
        batch, self._pending = self._pending, []
        if not batch:
            return self._next - 1
        try:
            self._write(batch)
        except BaseException:
            self._pending = batch + self._pending  # its numbers are given: nothing may pass it
            raise
        last = block.first_and_count(batch[-1])
        durable = last[0] + last[1] - 1
        self._durable.publish(durable)
        self._steps.at("journal.published")
        if self._size >= self._segment_bytes_max:
            self._abandon()
        return durable

    def close(self) -> None:
        """Close without flushing; what was not flushed was not acknowledged."""
        self._abandon()
        self._durable.close()
        os.close(self._lock)

    def _recover(self, stored: int | None) -> Recovery:
        found = segment.segments(self.directory)
        known = self._durable.read() or 0
        self._number = max((each.number for each in found), default=0)
        if not found:
            # A word beyond what is stored tells of lost frames: the loss is to be on record first,
            # so their numbers are not given again.
            last = max(known, stored or 0)
            self._next = last + 1
            self._start_segment(self._next)
            if last != known:
                self._durable.publish(last)
            return Recovery(last, 0, 0, 0 if stored is None else max(0, known - stored))
        tail = segment.tail_after(found[-1], known)
        lost = max(0, known - tail.last_frame)
        rewrite = tail.blocks
        first = block.first_and_count(rewrite[0])[0] if rewrite else max(known, tail.last_frame) + 1
        self._next = max(known, tail.last_frame) + 1
        rewritten = self._next - first
        self._start_segment(first, rewrite)
        if stored is not None and stored >= self._next:
            self._abandon()
            lost += stored + 1 - self._next
            self._next = stored + 1
            self._start_segment(self._next)
        self._durable.publish(self._next - 1)
        return Recovery(self._next - 1, tail.cut_bytes, rewritten, lost)

    def _start_segment(self, first_frame: int, blocks: Sequence[bytes] = ()) -> None:
        try:
            self._open_segment(first_frame, blocks)
        except OSError as error:
            raise self._translated(error) from error

    def _write(self, batch: list[bytes]) -> None:
        self._make_room(sum(map(len, batch)))
        for left in reversed(range(SYNC_TRIES_MAX)):
            start = self._size
            try:
                if self._descriptor < 0:
                    self._open_segment(block.first_and_count(batch[0])[0])
                    start = self._size
                self._steps.at("journal.write")
                self._append_bytes(b"".join(batch))
                self._steps.at("journal.fsync")
                os.fdatasync(self._descriptor)
            except OSError as error:
                if error.errno in NO_ROOM:
                    self._take_back(start)
                else:
                    self._abandon()
                if error.errno in NO_ROOM or not left:
                    raise self._translated(error) from error
                continue
            return

    def _translated(self, error: OSError) -> DiskFull | Unavailable:
        if error.errno in NO_ROOM:
            return DiskFull(
                str(self.directory), "no room for the journal", "free space, then start again"
            )
        return Unavailable(str(self.directory), f"can't be written ({error})", "check the disk")

    def _append_bytes(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            self._size += written
            view = view[written:]

    def _take_back(self, start: int) -> None:
        """Undo a write that had no room for all of it; where that fails, abandon the segment."""
        if self._descriptor < 0:
            return
        try:
            os.ftruncate(self._descriptor, start)
            os.lseek(self._descriptor, start, os.SEEK_SET)
            self._size = start
        except OSError:
            self._abandon()

    def _make_room(self, size: int) -> None:
        self._used += size
        if self._used <= self._bytes_max:
            return
        self._used = size + segment.bytes_of(self.directory)
        if self._used > self._bytes_max:
            raise DiskFull(
                str(self.directory),
                f"the journal's budget of {self._bytes_max} bytes is used up",
                "let the lake catch up, or raise TICKLAKE_JOURNAL_BYTES_MAX",
            )

    def _open_segment(self, first_frame: int, blocks: Sequence[bytes] = ()) -> None:
        """Go on in a new segment that holds these blocks; raises OSError, then there is none."""
        self._abandon()
        self._number += 1
        path = segment.path_of(self.directory, self._number)
        new = path.with_suffix(segment.UNNAMED_SUFFIX)
        self._size = 0
        self._descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            head = segment.header(self.shard, self._number, first_frame)
            self._append_bytes(b"".join((head, *blocks)))
            self._steps.at("journal.segment")
            os.fsync(self._descriptor)
            os.rename(new, path)
            sync_directory(self.directory)
        except OSError:
            self._abandon()
            new.unlink(missing_ok=True)
            raise

    def _abandon(self) -> None:
        """Leave the segment as it is; the next write opens another."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


def lock(directory: Path) -> int:
    """Hold a journal alone until the descriptor is closed; raises Unavailable when another does."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Unavailable(
            str(directory), "another process appends to this journal", "stop it first"
        ) from error
    return descriptor


def sync_directory(directory: Path) -> None:
    """Make names in a folder durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

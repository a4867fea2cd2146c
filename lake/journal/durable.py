"""The published durable frame: how far readers of a journal may go.

One memory-mapped word per journal, written after each fsync: no reader sees a frame that a power
cut could take back. The word stands twice, the second time inverted, so that a torn or foreign file
reads as "not known".
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

WORDS = struct.Struct("<QQ")
ALL_ONES = (1 << 64) - 1
READS_MAX = 1000
"""A reader that meets a half-written pair this often gives up: nobody publishes that often."""


class DurableFrame:
    """The word in a file; one process publishes, any number read."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        flags = os.O_RDWR | (os.O_CREAT if create else 0)
        descriptor = os.open(path, flags, 0o644)
        try:
            if os.fstat(descriptor).st_size < WORDS.size:
                os.ftruncate(descriptor, WORDS.size)
            self._map = mmap.mmap(descriptor, WORDS.size)
        finally:
            os.close(descriptor)

    def publish(self, frame: int) -> None:
        """Let readers go up to and including `frame`."""
        WORDS.pack_into(self._map, 0, frame, frame ^ ALL_ONES)

    def read(self) -> int | None:
        """Return the last durable frame, inclusive; None when the file holds none."""
        for _ in range(READS_MAX):
            frame, inverted = WORDS.unpack_from(self._map)
            if frame ^ inverted == ALL_ONES:
                return int(frame)
            if frame == inverted == 0:
                return None
        return None

    def close(self) -> None:
        """Unmap the file."""
        self._map.close()

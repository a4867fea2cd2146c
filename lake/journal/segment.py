"""Segment files of a journal: names, headers, and the blocks in them."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lake.errors import Damaged
from lake.journal import block

HEADER = struct.Struct("<8sIQQ")
MAGIC = b"TLJRNL01"
SUFFIX = ".journal"
UNNAMED_SUFFIX = ".new"
"""Of a segment that is not whole yet; no reader and no recovery looks at it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment file; it supersedes earlier ones from first_frame on."""

    path: Path
    number: int
    first_frame: int


def path_of(directory: Path, number: int) -> Path:
    """Return the path of segment `number`."""
    return directory / f"{number:010d}{SUFFIX}"


def header(shard: int, number: int, first_frame: int) -> bytes:
    """Return a segment's header."""
    return HEADER.pack(MAGIC, shard, number, first_frame)


def segments(directory: Path) -> list[Segment]:
    """Return the directory's segments in order; a file without a whole header is passed over."""
    found = []
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        with path.open("rb") as file:
            head = file.read(HEADER.size)
        if len(head) == HEADER.size and head.startswith(MAGIC):
            _, _, number, first_frame = HEADER.unpack(head)
            found.append(Segment(path, number, first_frame))
    return found


def bytes_of(directory: Path) -> int:
    """Return the bytes of a journal's segments; one that goes meanwhile counts for nothing."""
    total = 0
    for path in directory.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def blocks(path: Path, *, upto_frame: int) -> Iterator[block.Block]:
    """Yield a segment's intact blocks whose frames are at or before upto_frame, in order.

    Raises Damaged for a block that fails its checksum.
    """
    for raw in raw_blocks(path):
        first, count = block.first_and_count(raw)
        if first + count - 1 > upto_frame:
            return
        yield block.decode(raw, str(path))


def raw_blocks(path: Path) -> Iterator[bytes]:
    """Yield a segment's whole blocks, unchecked; stops at the first that is not whole."""
    with path.open("rb") as file:
        file.seek(HEADER.size)
        while True:
            head = file.read(block.HEADER.size)
            size = block.size_of(head)
            if not size:
                return
            rest = file.read(size - len(head))
            if len(head) + len(rest) < size:
                return
            yield head + rest


@dataclass(frozen=True, slots=True)
class Tail:
    """What recovery found at the end of the newest segment."""

    blocks: list[bytes]
    last_frame: int
    cut_bytes: int


def tail_after(segment: Segment, frame: int) -> Tail:
    """Return the intact blocks of a segment beyond `frame`, and how many bytes are torn."""
    kept: list[bytes] = []
    last = segment.first_frame - 1
    at = HEADER.size
    for raw in raw_blocks(segment.path):
        if not block.is_intact(raw):
            break
        first, count = block.first_and_count(raw)
        if first != last + 1:
            raise Damaged(
                str(segment.path),
                f"frame {first} follows {last}",
                "move the segment away and restart; the hole becomes a gap",
            )
        last = first + count - 1
        at += len(raw)
        if last > frame:
            kept.append(raw)
    return Tail(kept, last, os.path.getsize(segment.path) - at)

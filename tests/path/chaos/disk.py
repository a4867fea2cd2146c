"""A disk that loses what was not synced: journal and warehouse after a power cut."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random

from pyiceberg.typedef import EMPTY_DICT, Properties

from lake.journal.durable import ALL_ONES, WORDS
from lake.journal.segment import SUFFIX, UNNAMED_SUFFIX
from lake.tables.warehouse_io import SyncedFile, SyncedStream, WarehouseIO

RECORDED = f"{__name__}.RecordedIO"
"""For the catalog's property `py-io-impl`."""

synced_files: set[Path] = set()
"""Files of the warehouse that were synced since the simulation began."""


class RecordedStream(SyncedStream):
    """Notes that its file is durable."""

    def sync(self) -> None:
        super().sync()
        synced_files.add(self.path)


class RecordedFile(SyncedFile):
    """Opens noted streams."""

    stream = RecordedStream


class RecordedIO(WarehouseIO):
    """The warehouse's IO, with a note of what is durable."""

    file = RecordedFile

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        super().__init__(properties)


class Disk:
    """What of a lakehouse's folder is durable."""

    def __init__(self, folder: Path) -> None:
        self._journal = folder / "journal"
        self._warehouse = folder / "warehouse"
        self._sizes: dict[Path, int] = {}
        self._published: dict[Path, list[bytes]] = {}
        synced_files.clear()
        synced_files.update(_files(self._warehouse))

    def journal_step(self, directory: Path, name: str) -> None:
        """Note what is durable at a step of the journal in a directory."""
        if name == "journal.write":
            self.opened(directory)
        elif name == "journal.published":
            newest = max(directory.glob(f"*{SUFFIX}"))
            self._sizes[newest] = newest.stat().st_size
            words = (directory / "durable").read_bytes()
            self._published.setdefault(directory, []).append(words)

    def opened(self, directory: Path) -> None:
        """Note segments that have their name: they were synced before."""
        for path in directory.glob(f"*{SUFFIX}"):
            self._sizes.setdefault(path, path.stat().st_size)

    def drop_pages(self, random: Random) -> None:
        """Lose what failed syncs left in abandoned segments, as the kernel may at any time."""
        for directory in self._directories():
            for path in sorted(directory.glob(f"*{SUFFIX}"))[:-1]:
                self._tear(path, random)

    def cut(self, random: Random) -> None:
        """Lose what was not synced, or a part of it."""
        for directory in self._directories():
            for path in directory.glob(f"*{SUFFIX}"):
                self._tear(path, random)
            for path in directory.glob(f"*{UNNAMED_SUFFIX}"):
                path.write_bytes(path.read_bytes()[: random.randint(0, 100)])
            self._forget_published(directory, random)
        for path in _files(self._warehouse):
            if path not in synced_files:
                path.write_bytes(path.read_bytes()[: random.randint(0, 10_000)])

    def _directories(self) -> list[Path]:
        return sorted(self._journal.glob("shard-*"))

    def _tear(self, path: Path, random: Random) -> None:
        raw = path.read_bytes()
        kept = self._sizes.get(path, len(raw))
        if len(raw) <= kept:
            return
        tail = bytearray(raw[kept:])
        how = random.choice(["gone", "cut", "zeros", "garbage", "whole"])
        if how == "gone":
            tail.clear()
        elif how == "cut":
            del tail[random.randint(0, len(tail)) :]
        elif how != "whole":
            start = random.randint(0, len(tail) - 1)
            end = random.randint(start, len(tail))
            tail[start:end] = (
                bytes(end - start) if how == "zeros" else random.randbytes(end - start)
            )
        path.write_bytes(raw[:kept] + tail)

    def _forget_published(self, directory: Path, random: Random) -> None:
        path = directory / "durable"
        if not path.exists():
            return
        older = self._published.get(directory, [])
        words = path.read_bytes()
        how = random.choice(["kept", "kept", "older", "torn", "zeros", "empty", "garbage"])
        if how == "older" and older:
            words = random.choice(older)
        elif how == "torn" and older and len(words) == WORDS.size:
            words = words[:8] + random.choice(older)[8:]
        elif how == "zeros":
            words = bytes(WORDS.size)
        elif how == "empty":
            words = b""
        elif how == "garbage":
            words = _no_pair(random)
        path.write_bytes(words)


def _no_pair(random: Random) -> bytes:
    frame = random.getrandbits(40)
    return struct.pack("<QQ", frame, frame ^ ALL_ONES ^ (1 << random.randint(0, 63)))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())

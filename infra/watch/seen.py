"""Everything that can be seen of a home now: servers, ingests, stores, disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from infra.watch.probes import Health
from lake.errors import TicklakeError
from lake.hot.look import HotLook
from lake.hot.standing import Standing
from lake.ingest.report import IngestReport
from lake.journal.reader import JournalReader
from lake.journal.segment import bytes_of
from serving.live.report import LiveReport

if TYPE_CHECKING:  # it brings pyiceberg, which `status` has no use for
    from lake.tables.table_size import TableSize

T = TypeVar("T")

FLOWS_SILENT_S = 180.0
"""Six periods of its watch, whose looks take longer on a busy machine."""


@dataclass(frozen=True, slots=True)
class ShardJournal:
    """One shard's journal on disk; durable_frame: the last that is acknowledged."""

    bytes: int
    durable_frame: int


@dataclass(frozen=True, slots=True)
class Disk:
    """The journals' disk: bytes free and in all, and the budget of each shard's journal."""

    free: int
    total: int
    budget: int


@dataclass(frozen=True, slots=True)
class FlowsSeen:
    """The process that makes bars and watches promises. here: it is to run on this machine, and pid
    is None where it is gone; else only silent_s is known: since its watch turned last, or it began.
    """

    here: bool
    pid: int | None
    silent_s: float

    @property
    def up(self) -> bool:
        """Tell whether it runs and its watch turns."""
        return self.silent_s <= FLOWS_SILENT_S and (self.pid is not None or not self.here)


@dataclass(frozen=True, slots=True)
class Look:
    """When a look ended (monotonic microseconds) and how long it took."""

    at_us: int
    took_s: float


@dataclass(frozen=True)
class Seen:
    """What was seen; what could not be looked at is empty or None, and `servers` says why.

    flows: None where none are to run. live: the service and the processes beside it, by name.
    """

    servers: Mapping[str, Health] = field(default_factory=dict)
    reports: Sequence[IngestReport] = ()
    journals: Mapping[int, ShardJournal] = field(default_factory=dict)
    disk: Disk | None = None
    standing: Standing | None = None
    hot: HotLook | None = None
    sizes: Mapping[str, TableSize] = field(default_factory=dict)
    lake_commit_ms: int = 2_000
    flows: FlowsSeen | None = None
    live: Mapping[str, LiveReport] = field(default_factory=dict)

    def behind(self, shard: int) -> tuple[int, int]:
        """Return how many durable frames hot, and the lake, do not hold; 0 where unknown."""
        found = self.journals.get(shard)
        if found is None or self.standing is None:
            return 0, 0
        durable = found.durable_frame
        return (
            max(0, durable - self.standing.frames.get(shard, 0)),
            max(0, durable - self.standing.marks.get(shard, 0)),
        )


def journals(home: Path) -> dict[int, ShardJournal]:
    """Return shard -> its journal."""
    found = {}
    for folder in sorted((home / "journal").glob("shard-*")):
        shard = int(folder.name.removeprefix("shard-"))
        with closing(JournalReader(folder, shard)) as reader:
            found[shard] = ShardJournal(bytes_of(folder), reader.durable())
    return found


def disk(home: Path, budget: int) -> Disk | None:
    """Return the journals' disk; None before there is a home."""
    try:
        found = shutil.disk_usage(home)
    except OSError:
        return None
    return Disk(found.free, found.total, budget)


def tried(look: Callable[[], T]) -> T | None:
    """Return what a look returns; None where a server fails it, which its health says."""
    try:
        return look()
    except TicklakeError:
        return None

"""What the threads of a mover share."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from sqlalchemy.exc import OperationalError

from lake.clock import Clock
from lake.durations import Durations, StageTimes
from lake.errors import Unavailable
from lake.feeds.codec import Codec
from lake.hot.lease import Lease
from lake.ingest.hot_to_lake import Commits
from lake.ingest.recent_batches import RecentBatches
from lake.lineage.destination import NAMESPACE
from lake.settings import Settings
from lake.steps import Steps
from lake.tables.lake_table import LakeTable
from lake.warehouse import Warehouse

SERVER_FAULTS = (Unavailable, psycopg.OperationalError, OperationalError, ConnectionError)
"""A server is not there, or its answer never came: wait, look, go on."""

RETRY_S_MIN = 0.1
RETRY_S_MAX = 2.0

STAGES = (
    "build",
    "stage",
    "copy",
    "ledger",
    "commit",
    "lake_read",
    "lake_append",
    "merge",
    "expire",
    "remove",
    "leave",
    "roll_up",
)
"""What the threads time: writer, committer, keeper, roller."""


@dataclass
class Progress:
    """What the threads have done so far; read by whoever shows it.

    A dict that grows is replaced, never changed, since another thread may be reading it.
    fates: feed -> what became of its events -> how many. waits: thread -> the fault that it waits
    to be over. at_us: when this was said (UTC microseconds).
    """

    hot_frame: int = 0
    lake_frame: int = 0
    events: int = 0
    lag_ms: float = 0.0
    lake_lag_ms: float = 0.0
    hot_faults: int = 0
    lake_faults: int = 0
    batches: int = 0
    merges: int = 0
    files_removed: int = 0
    segments_sealed: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    fates: dict[str, dict[str, int]] = field(default_factory=dict)
    stages: dict[str, Durations] = field(default_factory=dict)
    commits: Commits = field(default_factory=Commits)
    waits: dict[str, str] = field(default_factory=dict)
    last_fault: str = ""
    committer: bool = False
    at_us: int = 0


@dataclass(frozen=True, slots=True)
class Access:
    """How a part of a mover reaches database and files: as a role with what it needs."""

    dsn: str
    warehouse: Warehouse


@dataclass(frozen=True, slots=True)
class MoverPlace:
    """Where a mover works; dsn and warehouse are the writer's, the committer and the keeper have
    theirs. trino: the words of a Trino session, where upkeep is Trino's. namespace: of the home's
    lineage, where the settings name none.
    """

    dsn: str
    warehouse: Warehouse
    journal: Path
    shard: int
    commit: Access
    keep: Access
    trino: Mapping[str, str] | None = None
    namespace: str = NAMESPACE


@dataclass
class MoverContext:
    """One mover's place, limits and state; each thread reads it and writes its own part."""

    place: MoverPlace
    lease: Lease
    codecs: Mapping[str, Codec]
    settings: Settings
    clock: Clock
    steps: Steps
    recent: RecentBatches
    progress: Progress = field(default_factory=Progress)
    commit_lock: threading.Lock = field(default_factory=threading.Lock)
    stop: threading.Event = field(default_factory=threading.Event)
    drain: threading.Event = field(default_factory=threading.Event)
    written: threading.Event = field(default_factory=threading.Event)
    committer: Lease | None = None
    tables: list[LakeTable] = field(default_factory=list)
    times: StageTimes = field(init=False)

    def __post_init__(self) -> None:
        self.times = StageTimes(self.clock, STAGES)
        self.progress.stages = self.times.times

    def seconds_since(self, start_us: int) -> float:
        """Return the seconds since a monotonic time."""
        return (self.clock.monotonic_us() - start_us) / 1e6

    def rest(self, period_s: float, start_us: int) -> None:
        """Wait for what is left of a period, or until stopped."""
        self.stop.wait(max(0.0, period_s - self.seconds_since(start_us)))


def first_words(error: BaseException) -> str:
    """Return the first line of what an error says, without its layers' names before it."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\([\w.]+\) ", "", text)


class Backoff:
    """Growing waits of one thread, by name, while a server is not there."""

    def __init__(self, context: MoverContext, name: str) -> None:
        self._context = context
        self._name = name
        self._wait_s = RETRY_S_MIN

    def reset(self) -> None:
        """Begin with the shortest wait again: what was waited for is there."""
        self._wait_s = RETRY_S_MIN
        if self._name in self._context.progress.waits:
            self._note("")

    def _note(self, fault: str) -> None:
        waits = {**self._context.progress.waits, self._name: fault}
        self._context.progress.waits = {name: text for name, text in waits.items() if text}

    def wait(self, error: BaseException) -> None:
        """Note the fault and wait."""
        fault = first_words(error)
        self._note(fault)
        self._context.progress.last_fault = fault
        self._context.stop.wait(self._wait_s)
        self._wait_s = min(RETRY_S_MAX, self._wait_s * 2)

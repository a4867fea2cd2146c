"""What the threads of a mover share."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from sqlalchemy.exc import OperationalError

from lake.clock import Clock
from lake.errors import Unavailable
from lake.feeds.codec import Codec
from lake.hot.lease import Lease
from lake.ingest.recent_batches import RecentBatches
from lake.settings import Settings
from lake.steps import Steps
from lake.tables.lake_table import LakeTable
from lake.warehouse import Warehouse

SERVER_FAULTS = (Unavailable, psycopg.OperationalError, OperationalError, ConnectionError)
"""A server is not there, or its answer never came: wait, look, go on."""

RETRY_S_MIN = 0.1
RETRY_S_MAX = 2.0


@dataclass
class Progress:
    """What the threads have done so far; read by whoever shows it."""

    hot_frame: int = 0
    lake_frame: int = 0
    events: int = 0
    lag_ms: float = 0.0
    lake_lag_ms: float = 0.0
    hot_faults: int = 0
    lake_faults: int = 0
    merges: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    last_fault: str = ""
    committer: bool = False


@dataclass(frozen=True, slots=True)
class MoverPlace:
    """Where a mover works."""

    dsn: str
    warehouse: Warehouse
    journal: Path
    shard: int


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

    def seconds_since(self, start_us: int) -> float:
        """Return the seconds since a monotonic time."""
        return (self.clock.monotonic_us() - start_us) / 1e6

    def rest(self, period_s: float, start_us: int) -> None:
        """Wait for what is left of a period, or until stopped."""
        self.stop.wait(max(0.0, period_s - self.seconds_since(start_us)))


class Backoff:
    """Growing waits while a server is not there."""

    def __init__(self, context: MoverContext) -> None:
        self._context = context
        self._wait_s = RETRY_S_MIN

    def reset(self) -> None:
        """Begin with the shortest wait again."""
        self._wait_s = RETRY_S_MIN

    def wait(self, error: BaseException) -> None:
        """Note the fault and wait."""
        self._context.progress.last_fault = str(error).strip()
        self._context.stop.wait(self._wait_s)
        self._wait_s = min(RETRY_S_MAX, self._wait_s * 2)

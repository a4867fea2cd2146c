"""What a live session works with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis

from feature_repo.ledger.writer import SILENT_MS_MAX
from lake.clock import Clock
from lake.errors import Unavailable
from lake.feeds.codec import Frames
from lake.journal.reader import JournalReader
from lake.views.client import Client
from serving.live.journal_runs import journal_runs
from serving.risk.kill_switch import KillSwitch
from serving.session.models import Models
from serving.session.plan import Plan
from serving.signals.silence import Silence

CONNECT_S_MAX = 5


class ShardJournal:
    """A shard's journal of this machine, as far as it is on the disk."""

    def __init__(self, directory: Path, shard: int) -> None:
        self.directory = directory
        self._shard = shard

    def durable(self) -> int:
        """Return the last frame that is on the disk; 0: none."""
        reader = JournalReader(self.directory, self._shard)
        try:
            return reader.durable()
        finally:
            reader.close()

    def runs(self, after: int, through: int) -> Iterator[tuple[str, Frames]]:
        """Yield its frames; see journal_runs."""
        return journal_runs(self.directory, self._shard, after, through)


Follow = tuple[int, int]
"""The last frame of the session before, and the moment at which its day ended."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a live session works with. lake: opens the lake for the warm-up; None: without.

    silent_ms: who has the accounts' turn and is not heard of for so long loses it; see Writer.
    silence: hears whether the model answers.
    """

    home: Path
    shard: int
    plan: Plan
    dsn: str
    client: Redis
    kill: KillSwitch
    clock: Clock
    models: Models
    code: str
    lake: Callable[[], Client] | None = None
    silent_ms: int = SILENT_MS_MAX
    silence: Silence | None = None

    @property
    def journal(self) -> ShardJournal:
        """Return the shard's journal."""
        return ShardJournal(self.home / "journal" / f"shard-{self.shard}", self.shard)


def connected(dsn: str) -> psycopg.Connection[Any]:
    """Return a connection to read with; raises Unavailable where the server is away."""
    try:
        return psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_S_MAX)
    except psycopg.Error as error:
        said = str(error).splitlines()[0]
        raise Unavailable("ledger", said, "look at PostgreSQL, see: ticklake status") from error

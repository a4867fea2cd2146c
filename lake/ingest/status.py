"""What an ingest says of itself, to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lake.durations import Durations
from lake.journal.journal import Recovery


@dataclass
class FeedStatus:
    """What the connections of one feed have taken in and met; last_us: when it was last heard."""

    frames: int = 0
    bytes: int = 0
    last_us: int = 0
    reconnects: int = 0
    gaps_opened: int = 0
    gaps_closed: int = 0
    paused_ms: float = 0.0


@dataclass
class Status:
    """What an ingest is doing; shown while it runs and returned at its end.

    hot_lag_ms, lake_lag_ms: age of the oldest durable frame that hot, or the lake, does not hold.
    loop_delays: how late the reader's own loop came to its next flush. at_us: when its loop last
    turned, flushed_us: when the journal was last written (UTC microseconds). fault: why no more
    is taken in, while what was goes on to the lake. streams: what became of frames on their way to
    Redis, where they go there. fates: at the end, what became of the frames
    and events that came to the hot tier meanwhile, by class, as the ledger has them. live: the
    feeds that are read from sockets, and so are to be heard for as long as it runs.
    """

    shard: int = -1
    frames: int = 0
    durable_frame: int = 0
    reconnects: int = 0
    journal_lag_ms: float = 0.0
    recovery: Recovery | None = None
    hot_lag_ms: float = 0.0
    lake_lag_ms: float = 0.0
    feeds: dict[str, FeedStatus] = field(default_factory=dict)
    flushes: Durations = field(default_factory=Durations)
    loop_delays: Durations = field(default_factory=Durations)
    at_us: int = 0
    flushed_us: int = 0
    draining: bool = False
    mover: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, int] = field(default_factory=dict)
    replays_left: int = 0
    fault: str = ""
    fates: dict[str, int] = field(default_factory=dict)
    ended: bool = False
    live: tuple[str, ...] = ()


Show = Callable[[Status], None]

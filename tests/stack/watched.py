"""What one engine's queries see while everything happens, held against the ledger."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pyarrow as pa

SEEN = (
    "SELECT shard, count(*) AS n, max(seq) AS seq, max(received_time) AS at FROM crypto_trades"
    " {since} GROUP BY shard"
)
COUNTED = (
    "SELECT coalesce(sum(rows), 0)::bigint FROM market.ledger_minutes"
    " WHERE dataset = 'crypto_trades' AND shard = %s AND first_frame > %s AND first_frame <= %s"
)
WHOLE_EVERY = 50
"""One query in so many reads every row, where the others read a window."""

EARLIER = timedelta(minutes=15)
"""An event is not older than its frame by more than this: what a window's time leaves out. An
exchange that has no core to itself was seen to send what was two minutes old."""


@dataclass
class Answer:
    """The newest frame that a query saw of each shard, when each came, and when the query ended."""

    ended_s: float
    frames: dict[int, int]
    times: dict[int, datetime]

    def since(self) -> str:
        """Return the condition on rows of all later frames."""
        time = min(self.times.values()) - EARLIER
        known = ", ".join(map(str, self.frames))
        later = " OR ".join(
            f"shard = {shard} AND seq >= {(frame + 1) << 16}"
            for shard, frame in self.frames.items()
        )
        at = f"CAST('{time.astimezone(UTC):%F %T} UTC' AS TIMESTAMP WITH TIME ZONE)"
        return f"WHERE (event_time >= {at} AND ({later})) OR shard NOT IN ({known})"


@dataclass
class Watched:
    """What one engine's queries saw; window_s: how far back most of them read, none: all rows.

    fresh: the age of the newest row of the shard that is furthest behind, at an answer's end, over
    all queries that ended between fresh_from_s and fresh_until_s (on the monotonic clock: while
    events come).
    """

    window_s: float | None = None
    fresh_from_s: float = 0.0
    fresh_until_s: float = math.inf
    queries: int = 0
    wrong: list[str] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    fresh_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)
    answers: deque[Answer] = field(default_factory=deque)

    def ask(
        self, arrow: Callable[[str], pa.Table], pg: psycopg.Connection, *, whole: bool = False
    ) -> None:
        """Ask for what came since the window's answer, or for all, and hold it to the ledger."""
        base = None if whole else self._base()
        start = time.monotonic()
        rows = arrow(SEEN.format(since=base.since() if base else "")).to_pylist()
        now, took_s = time.time(), time.monotonic() - start
        self.queries += 1
        (self.took_s if base or self.window_s is None else self.whole_s).append(took_s)
        in_time = self.fresh_from_s <= time.monotonic() < self.fresh_until_s
        self._hold(rows, base, now, pg)
        if in_time and self.answers[-1].times:
            self.fresh_s.append(now - min(self.answers[-1].times.values()).timestamp())

    def _base(self) -> Answer | None:
        if self.window_s is None or self.queries % WHOLE_EVERY == 0:
            return None
        now = time.time()
        while len(self.answers) > 1 and self.answers[1].ended_s < now - self.window_s:
            self.answers.popleft()
        return self.answers[0] if self.answers and self.answers[0].frames else None

    def _hold(
        self, rows: list[dict[str, Any]], base: Answer | None, now: float, pg: psycopg.Connection
    ) -> None:
        last = self.answers[-1] if self.answers else Answer(now, {}, {})
        before, after = last.frames, base.frames if base else {}
        seen = {int(row["shard"]): int(row["seq"]) >> 16 for row in rows}
        for row in rows:
            shard, frame = int(row["shard"]), seen[int(row["shard"])]
            counted = pg.execute(COUNTED, (shard, after.get(shard, -1), frame)).fetchone()
            if counted != (row["n"],):
                self.wrong.append(f"shard {shard} at {frame}: {row['n']} rows of {counted}")
            if frame < before.get(shard, 0):
                self.wrong.append(f"shard {shard}: back from {before[shard]} to {frame}")
        lost = {shard for shard in before.keys() - seen.keys() if before[shard] != after.get(shard)}
        self.wrong += [f"shard {shard} is gone" for shard in lost]
        times = {int(row["shard"]): row["at"] for row in rows}
        self.answers.append(Answer(now, {**before, **seen}, {**last.times, **times}))

    def figures(self) -> dict[str, Any]:
        """Return counts, and seconds at the median and the 99th of a hundred."""
        return {
            "queries": self.queries,
            "wrong": self.wrong,
            "took_s": quantiles(self.took_s),
            "fresh_s": quantiles(self.fresh_s),
            "whole_queries": len(self.whole_s),
            "whole_took_s": quantiles(self.whole_s),
        }


def quantiles(values: list[float]) -> dict[str, float]:
    """Return p50 and p99."""
    ordered = sorted(values) or [0.0]
    return {f"p{q}": round(ordered[int((len(ordered) - 1) * q / 100)], 2) for q in (50, 99)}

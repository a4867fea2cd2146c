"""How far behind the socket each place was, over a run."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from lake.ingest.run import Status

LAG_MS_MAX = 3_600_000.0
"""Above it a lag is a recording's age, and says nothing of ours."""


@dataclass
class Lags:
    """Lags in milliseconds, as they were shown; each is that of the oldest event not yet there."""

    hot_ms: list[float] = field(default_factory=list)
    lake_ms: list[float] = field(default_factory=list)

    def see(self, status: Status) -> None:
        """Take a status' lags in."""
        for name, found in (("lag_ms", self.hot_ms), ("lake_lag_ms", self.lake_ms)):
            if 0 < (ms := status.mover.get(name, 0)) < LAG_MS_MAX:
                found.append(ms)

    def __str__(self) -> str:
        parts = [
            f"{where} {statistics.median(found) / 1000:.1f} s (most {max(found) / 1000:.1f} s)"
            for where, found in (("SQL", self.hot_ms), ("the lake's files", self.lake_ms))
            if found
        ]
        return f"from the socket to {', to '.join(parts)}" if parts else ""

    def as_json(self) -> dict[str, float | None]:
        """Return medians and largest values."""
        document: dict[str, float | None] = {}
        for name, found in (("hot", self.hot_ms), ("lake", self.lake_ms)):
            document[f"{name}_lag_ms_median"] = statistics.median(found) if found else None
            document[f"{name}_lag_ms_max"] = max(found, default=None)
        return document

"""What a metric is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SHARD = ("shard",)
FEED = ("shard", "feed")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; the labels are in the order in which samples give them."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    meaning: str

    @property
    def sample_names(self) -> tuple[str, ...]:
        """Return the names that its samples have in the text format."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))

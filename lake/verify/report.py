"""What a check of the loss ledger found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lake.clock import utc_from_us

Tier = Literal["journal", "hot", "lake"]

FAULTS_SHOWN_MAX = 20
"""Faults that the text names one by one; the JSON form names all."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One place where a tier differs from the ledger.

    minute_us: start of the UTC minute, or None where the fault is wider than a minute. where: the
    table, partition or file. lost, duplicated: rows short of, or beyond, what the ledger says.
    rows: keys of rows that differ (`shard 0 seq 65536`), the first few, where they are known.
    """

    tier: Tier
    dataset: str
    where: str
    what: str
    ticker: str | None = None
    minute_us: int | None = None
    lost: int = 0
    duplicated: int = 0
    rows: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = [self.tier, self.dataset]
        if self.ticker is not None:
            place.append(self.ticker)
        if self.minute_us is not None:
            place.append(f"{utc_from_us(self.minute_us):%Y-%m-%dT%H:%MZ}")
        named = f" ({', '.join(self.rows)})" if self.rows else ""
        return f"{' '.join(place)}: {self.what}{named}: {self.where}"


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of `verify`; it holds when there is no fault.

    events: events ever journalled and committed. rows_read: rows recomputed by this run.
    """

    events: int
    faults: Sequence[Fault]
    rows_read: int = 0

    @property
    def holds(self) -> bool:
        """Tell whether every tier agrees with the ledger."""
        return not self.faults

    @property
    def lost(self) -> int:
        """Rows that the ledger has and a tier has not."""
        return sum(fault.lost for fault in self.faults)

    @property
    def duplicated(self) -> int:
        """Rows that a tier has beyond those of the ledger."""
        return sum(fault.duplicated for fault in self.faults)

    def as_json(self) -> dict[str, Any]:
        """Return the report as one JSON-ready document."""
        return {
            "holds": self.holds,
            "events": self.events,
            "lost": self.lost,
            "duplicated": self.duplicated,
            "rows_read": self.rows_read,
            "faults": [asdict(fault) | {"text": str(fault)} for fault in self.faults],
        }

    def __str__(self) -> str:
        head = f"{self.events:,} events, {self.lost:,} lost, {self.duplicated:,} duplicated"
        if self.holds:
            return head
        count = len(self.faults)
        lines = [f"{head}; {count:,} fault{'s' if count > 1 else ''}:"]
        lines += [f"  {fault}" for fault in self.faults[:FAULTS_SHOWN_MAX]]
        if count > FAULTS_SHOWN_MAX:
            lines.append(f"  and {count - FAULTS_SHOWN_MAX:,} more (see --json)")
        return "\n".join(lines)

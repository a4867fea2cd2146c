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
    changed: as many rows as the ledger says, but not as they were written. frames_lost: frames that
    were acknowledged and are nowhere. remedy: what to do, where that is no matter of course.
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
    changed: bool = False
    frames_lost: int = 0
    remedy: str = ""

    def __str__(self) -> str:
        place = [self.tier, self.dataset]
        if self.ticker is not None:
            place.append(self.ticker)
        if self.minute_us is not None:
            place.append(f"{utc_from_us(self.minute_us):%Y-%m-%dT%H:%MZ}")
        named = f" ({', '.join(self.rows)})" if self.rows else ""
        said = f"{' '.join(place)}: {self.what}{named}: {self.where}"
        return f"{said}: {self.remedy}" if self.remedy else said


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of `verify`; it holds when there is no fault.

    events: events ever journalled and committed. rows_read: rows recomputed by this run.
    frames_waiting: frames that the journal holds and the hot tier not yet; they are no fault.
    """

    events: int
    faults: Sequence[Fault]
    rows_read: int = 0
    frames_waiting: int = 0

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

    @property
    def changed(self) -> int:
        """Places (a minute of a ticker, a day, a file) where rows are not as they were written."""
        return sum(fault.changed for fault in self.faults)

    @property
    def frames_lost(self) -> int:
        """Frames that were acknowledged and are neither stored nor in the journal."""
        return sum(fault.frames_lost for fault in self.faults)

    def damage(self) -> str:
        """Say in words what is lost, duplicated and changed."""
        words = [f"{self.lost:,} rows lost", f"{self.duplicated:,} duplicated", *self._worse()]
        if not (self.lost or self.duplicated or self._worse()):
            count = len(self.faults)
            words = [f"{count:,} fault{'s' if count > 1 else ''} that no row shows"]
        return ", ".join(words)

    def _worse(self) -> list[str]:
        words = []
        if self.changed:
            words.append(f"changed in {self.changed:,} place{'s' if self.changed > 1 else ''}")
        if self.frames_lost:
            words.append(f"{self.frames_lost:,} frame{'s' if self.frames_lost > 1 else ''} lost")
        return words

    def as_json(self) -> dict[str, Any]:
        """Return the report as one JSON-ready document."""
        return {
            "holds": self.holds,
            "events": self.events,
            "lost": self.lost,
            "duplicated": self.duplicated,
            "changed": self.changed,
            "frames_lost": self.frames_lost,
            "frames_waiting": self.frames_waiting,
            "rows_read": self.rows_read,
            "faults": [asdict(fault) | {"text": str(fault)} for fault in self.faults],
        }

    def __str__(self) -> str:
        counts = f"{self.events:,} events, {self.lost:,} lost, {self.duplicated:,} duplicated"
        head = ", ".join([counts, *self._worse()])
        count = len(self.faults)
        lines = [f"{head}; {count:,} fault{'s' if count > 1 else ''}:" if count else head]
        lines += [f"  {fault}" for fault in self.faults[:FAULTS_SHOWN_MAX]]
        if count > FAULTS_SHOWN_MAX:
            lines.append(f"  and {count - FAULTS_SHOWN_MAX:,} more (see --json)")
        if self.frames_waiting:
            one = self.frames_waiting == 1
            frames = f"{self.frames_waiting:,} frame{'' if one else 's'} journalled, not yet moved"
            lines.append(f"{frames}: the next ingest moves {'it' if one else 'them'}")
        return "\n".join(lines)

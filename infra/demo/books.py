"""What became of a run's events: every one is in one class, and the classes add up."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from lake.clock import utc_from_us
from lake.views.client import Client

CLASSES = """
SELECT stored, duplicate, quarantined, ignored, ignored_kinds FROM ingest_batches
WHERE committed_time >= '{since}'
"""
GAPS = """
SELECT count(*) AS gaps, count(filled) AS refilled FROM feed_gaps
WHERE detected_time >= '{since}' AND kind <> 'id_hole'
"""

KINDS_SHOWN_MAX = 3


@dataclass(frozen=True, slots=True)
class Books:
    """Events by class, and the gaps of the connections; refilled: from the venue's history."""

    stored: int
    duplicate: int
    quarantined: int
    ignored: Counter[str]
    gaps: int
    refilled: int

    @property
    def events(self) -> int:
        """The sum of the classes."""
        return self.stored + self.duplicate + self.quarantined + self.ignored.total()

    def lines(self) -> list[str]:
        """Return a line per class that has events, and one for the gaps."""
        kinds = ", ".join(name for name, _ in self.ignored.most_common(KINDS_SHOWN_MAX))
        classes = [
            (self.stored, "stored       once each, in hot tier and lake"),
            (self.duplicate, "duplicates   repeats and overlaps, taken once"),
            (self.quarantined, "quarantined  broken ones, kept as they came, with the reason"),
            (self.ignored.total(), f"ignored      kinds that are not kept ({kinds})"),
        ]
        found = [f"{count:>9,} {words}" for count, words in classes if count]
        if self.gaps:
            words = f"{self.refilled:,} refilled from the exchange's history"
            found.append(f"{self.gaps:>9,} gaps         {words}")
        return found

    def as_json(self) -> dict[str, Any]:
        """Return one JSON-ready document."""
        return {
            "stored": self.stored,
            "duplicate": self.duplicate,
            "quarantined": self.quarantined,
            "ignored": dict(self.ignored),
            "gaps": self.gaps,
            "gaps_refilled": self.refilled,
        }


def books_of(client: Client, since_us: int) -> Books:
    """Return the books of what was written since then, UTC microseconds, inclusive."""
    since = f"{utc_from_us(since_us):%Y-%m-%d %H:%M:%S.%fZ}"
    rows = client.polars(CLASSES.format(since=since))
    ignored: Counter[str] = Counter()
    for kinds in rows["ignored_kinds"].drop_nulls():
        ignored.update(json.loads(kinds))
    [(gaps, refilled)] = client.polars(GAPS.format(since=since)).rows()
    stored, duplicate, quarantined = (int(rows[name].sum()) for name in rows.columns[:3])
    return Books(stored, duplicate, quarantined, ignored, gaps, refilled)

"""The Iceberg tables of features, one a set: rows are only added, and marks say of what.

`ticklake.bars` is the snapshot of bars that the rows were made of, `ticklake.features` the version
of their set; through and closed are those of these bars, or of the ticks where a set is of ticks.
`ticklake.scores.<shard>` is the last frame whose scores were seen. They are written once all rows
made of them are there, so that a run that died is made again, and adds what lacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

from lake.bars.bars_table import Marks
from lake.steps import Steps
from lake.tables.commit import Staging, faults_of
from lake.tables.flow_table import FlowTable
from lake.tables.lake_table import holdings_of
from lake.tables.names import CLOSED

DATASET = "features_market"
BARS_SNAPSHOT = "ticklake.bars"
SET_VERSION = "ticklake.features"
SCORES = "ticklake.scores."
NO_BARS = 0
"""In place of a snapshot, of a set that is made of ticks."""


@dataclass(frozen=True, slots=True)
class MadeOf:
    """What the rows are made of: a snapshot of bars with its marks, by a version of the set.

    scores: shard -> last frame, inclusive, whose sentiment scores were seen.
    """

    bars_snapshot: int
    set_version: int
    marks: Marks
    scores: Mapping[int, int] = field(default_factory=dict)

    def properties(self) -> dict[str, str]:
        """Return it as the table keeps it."""
        return {
            **self.marks.properties(),
            BARS_SNAPSHOT: str(self.bars_snapshot),
            SET_VERSION: str(self.set_version),
            **{f"{SCORES}{shard}": str(frame) for shard, frame in self.scores.items()},
        }


class FeaturesTable(FlowTable):
    """One run's handle on the table of a set."""

    def __init__(
        self,
        catalog: SqlCatalog,
        *,
        epoch: int,
        steps: Steps | None = None,
        dataset: str = DATASET,
    ) -> None:
        super().__init__(dataset, catalog, epoch=epoch, steps=steps)

    def made_of(self) -> MadeOf | None:
        """Return what all rows are made of; None at first, and where it was rolled back."""
        held, properties = holdings_of(self.table), self.table.properties
        if held.rolled_back or BARS_SNAPSHOT not in properties:
            return None
        marks = Marks(held.through, int(properties.get(CLOSED, 0)))
        scores = {
            int(name.removeprefix(SCORES)): int(frame)
            for name, frame in properties.items()
            if name.startswith(SCORES)
        }
        return MadeOf(int(properties[BARS_SNAPSHOT]), int(properties[SET_VERSION]), marks, scores)

    def append(self, rows: pa.Table, made_of: MadeOf) -> int:
        """Add rows, at least one, in one commit; return its snapshot.

        Raises Fenced when another run has begun; DiskFull; Unavailable when the head has moved or
        the outcome is unknown: begin again, and add what lacks then.
        """
        with faults_of(self._dataset):
            marks = made_of.marks
            return self._replace([], [rows], marks.through, marks.closed_us, {})

    def move(self, made_of: MadeOf) -> None:
        """Say that all rows that these bars make are there. Raises as append does."""
        with faults_of(self._dataset):
            transaction = Staging(self.table)
            transaction.set_properties(made_of.properties())
            self._show(transaction)

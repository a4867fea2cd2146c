"""What makers of features share, whatever they make them of: a set, its table, and how rows go in.

A run adds rows piece by piece, a commit each, and tells of them as lineage. Whoever kills it loses
one commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

from feature_repo.feature_set import FeatureSet, feature_set
from flows.jobs import FEATURES
from lake.bars.kernel import teach
from lake.clock import Clock, SystemClock
from lake.features.features_table import FeaturesTable, MadeOf
from lake.hot.turn import TURN_S_MAX, turn
from lake.lineage.destination import NAMESPACE
from lake.lineage.job import lake
from lake.lineage.run import Run, Teller, TellsItsEnd
from lake.quarantine.held_batch import decided
from lake.steps import Steps
from lake.tables.catalog import open_catalog
from lake.views.client import Client
from lake.warehouse import Warehouse

LOOKS_MAX = 5
"""Looks at a catalog that moves meanwhile."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one run did: rows added, series looked at, the snapshots written."""

    put: int
    series: int
    snapshots: tuple[int, ...] = ()

    def line(self) -> str:
        """Return it in words."""
        return f"{self.put:,} rows of features added, of {self.series:,} series"


class FeatureMaker(TellsItsEnd):
    """Makes one set of one lakehouse; one thread uses it at a time. A context manager.

    default_set: its name where none is given; at_once: rows of what it is made of, of one reading.
    """

    default_set: ClassVar[str]
    at_once: ClassVar[int]

    def __init__(
        self,
        dsn: str,
        warehouse: Warehouse,
        *,
        clock: Clock | None = None,
        steps: Steps | None = None,
        rows_max: int | None = None,
        wait_s: float = TURN_S_MAX,
        namespace: str = NAMESPACE,
        made: FeatureSet | None = None,
    ) -> None:
        """Connect; made: the set to make; None: the default one, of the version in force."""
        self._dsn = dsn
        self._warehouse = warehouse
        self._clock = clock or SystemClock()
        self._steps = steps or Steps()
        self._rows_max = rows_max or self.at_once
        self._wait_s = wait_s
        self._set: FeatureSet = made or feature_set(self.default_set)
        self._dataset = self._set.dataset
        self._client = Client(dsn, warehouse)
        teach(self._client.duckdb)
        self._run = Run(Teller(dsn, self._clock, namespace), FEATURES)

    def close(self) -> None:
        """Close the connection of the readers."""
        super().close()
        self._client.close()

    @contextmanager
    def _opened(self) -> Iterator[tuple[SqlCatalog, int]]:
        """Take the set's turn; give the catalog and the turn's epoch."""
        with (
            turn(self._dsn, self._dataset, wait_s=self._wait_s) as held,
            closing(
                open_catalog(self._dsn, self._warehouse, epoch=held.epoch, lease=self._dataset)
            ) as catalog,
        ):
            yield catalog, held.epoch

    def _table(self, catalog: SqlCatalog, epoch: int) -> FeaturesTable:
        return FeaturesTable(catalog, epoch=epoch, steps=self._steps, dataset=self._dataset)

    def _added(
        self, table: FeaturesTable, of: MadeOf, pieces: Iterable[pa.Table], series: int
    ) -> Step:
        """Add pieces of rows, a commit each, but for those that are held back; say what was done.

        of: what the table is made of when all are in it.
        """
        put = 0
        snapshots: list[int] = []
        for piece in pieces:
            rows = decided(self._dsn, self._dataset, piece, self._clock)
            if rows.num_rows:
                put += rows.num_rows
                snapshots.append(table.append(rows, of))
                self._run.wrote(lake(self._dataset), snapshots[-1], rows.num_rows)
                self._run.tell("RUNNING" if self._run.told else "START", brief=self._run.told)
        table.move(of)
        return Step(put, series, tuple(snapshots))

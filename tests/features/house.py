"""A lakehouse with bars, and who makes features of them."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta

import pyarrow as pa

from feature_repo.feature_set import MARKET
from flows.bars_to_features import BarsToFeatures
from flows.feature_maker import Step
from lake.bars.bars_table import BarsTable, Marks
from lake.bars.changes import Changes
from lake.bars.kernel import KEY
from lake.clock import ManualClock
from lake.hot.turn import turn
from lake.steps import Steps
from lake.tables.catalog import open_catalog
from lake.views.client import Client
from tests.bars.trading import EPOCH
from tests.features.bars import walk
from tests.verify.lakehouse import Lakehouse

ROWS = 900
US = timedelta(microseconds=1)
NOW = datetime.fromisoformat("2024-03-01T00:00:00+00:00")
BARS = pa.concat_tables([walk(ROWS, gaps=0), walk(40, ticker="X:ETHUSD", gaps=0.5, interval="1h")])
MINUTES = BARS.slice(0, ROWS)
VALUES = ", ".join(MARKET.names)


class House(Lakehouse):
    """A lakehouse with bars, and who makes features of them."""

    def publish(self, put: pa.Table, drop: pa.Table | None = None) -> None:
        with (
            turn(self.dsn, "bars") as held,
            closing(open_catalog(self.dsn, self.place, epoch=held.epoch, lease="bars")) as catalog,
        ):
            gone = (BARS.slice(0, 0) if drop is None else drop).select(list(KEY))
            BarsTable(catalog, epoch=held.epoch).publish(Changes(put, gone), Marks({0: 1}, 0))

    def make(
        self, steps: Steps | None = None, *, after: timedelta = timedelta(0), **options: int
    ) -> Step:
        clock = ManualClock((NOW + after - EPOCH) // US)
        with BarsToFeatures(self.dsn, self.place, clock=clock, steps=steps, **options) as maker:
            return maker.step()

    def rows(self, query: str = "FROM features_market") -> pa.Table:
        with Client(self.dsn, self.place) as client:
            return client.arrow(query)

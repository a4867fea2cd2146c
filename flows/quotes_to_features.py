"""Features from quotes: the minutes that new quotes fall into, and no other.

One step takes the quotes that came since the marks of the table, and those that waited for their
minute to close, from the union of lake and hot tier; it makes their minutes of all their quotes and
adds the rows whose values are other than those held. It needs no Prefect. Whoever kills it loses
one commit; the next run begins where the table says, and adds what lacks.
"""

from __future__ import annotations

import pyarrow as pa

from feature_repo.feature_set import MICROSTRUCTURE
from feature_repo.versions import computed, new_versions
from flows.arrived import arrived, frames_upto
from flows.feature_maker import LOOKS_MAX, FeatureMaker, Step
from flows.trades_to_bars import GRACE_MS, STEP_ROWS_MAX
from lake.bars.bars_table import Marks
from lake.bars.kernel import KEY, MINUTE_US, SERIES
from lake.errors import Unavailable
from lake.features.features_table import NO_BARS, FeaturesTable, MadeOf
from lake.features.quote_minutes import QUOTES, quote_minutes

MINUTES_MAX = 2_000_000
"""Minutes of all series of one computing and commit."""


class QuotesToFeatures(FeatureMaker):
    """Makes features of one lakehouse's quotes; one thread at a time. A context manager."""

    default_set = MICROSTRUCTURE.name
    at_once = STEP_ROWS_MAX

    def drain(self) -> Step:
        """Take steps until none is left; return what they did together."""
        put, series = 0, 0
        snapshots: list[int] = []
        while True:
            step, more = self.step()
            put, series = put + step.put, max(series, step.series)
            snapshots += step.snapshots
            if not more:
                return Step(put, series, tuple(snapshots))

    def step(self) -> tuple[Step, bool]:
        """Add what lacks, of so many frames; tell whether there are more.

        Raises Unavailable when another run was first: call it again.
        """
        with self._opened() as (catalog, epoch):
            table = self._table(catalog, epoch)
            made = self._look(table)
            same_set = made is not None and made.set_version == self._set.version
            held = made.marks if made is not None and same_set else Marks({}, 0)
            upto, more = frames_upto(self._dsn, held, self._rows_max, self._client.frames)
            closed_us = (self._clock.now_us() - GRACE_MS * 1_000) // MINUTE_US * MINUTE_US
            marks = Marks({**held.through, **upto}, max(held.closed_us, closed_us))
            if marks == held:
                return Step(0, 0), False
            return self._make(table, held, MadeOf(NO_BARS, self._set.version, marks)), more

    def _make(self, table: FeaturesTable, held: Marks, of: MadeOf) -> Step:
        connection = self._client.duckdb
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE touched AS SELECT DISTINCT {_SERIES_LIST},"
            f" bucket_us(event_time, {MINUTE_US}) AS at_us"
            f" FROM ({arrived(QUOTES, held, of.marks)}) ORDER BY at_us"
        )
        minutes, series = self._counted()
        return self._added(table, of, map(self._rows, range(0, minutes, MINUTES_MAX)), series)

    def _counted(self) -> tuple[int, int]:
        row = self._client.duckdb.execute(
            f"SELECT count(*), count(DISTINCT ({_SERIES_LIST})) FROM touched"
        ).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])

    def _rows(self, first: int) -> pa.Table:
        """Return the rows that some of the touched minutes add."""
        connection = self._client.duckdb
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE part AS FROM touched ORDER BY at_us, {_SERIES_LIST}"
            f" LIMIT {MINUTES_MAX} OFFSET {first}"
        )
        row = connection.execute("SELECT min(at_us), max(at_us) FROM part").fetchone()
        assert row is not None
        quotes = (
            f"(SELECT q.* FROM {QUOTES} AS q SEMI JOIN part AS p ON {_SAME}"
            f" AND bucket_us(q.event_time, {MINUTE_US}) = p.at_us"
            f" WHERE q.event_time >= from_us({row[0]})"
            f" AND q.event_time < from_us({row[1] + MINUTE_US}))"
        )
        order = ", ".join(f'"{name}"' for name in KEY)
        found = connection.execute(f"FROM ({quote_minutes(quotes)}) ORDER BY {order}")
        made = computed(found.to_arrow_table(), self._set)
        held = connection.execute(
            f"SELECT q.* FROM lake.{self._dataset} AS q SEMI JOIN part AS p ON {_SAME}"
            f" AND epoch_us(q.event_time) = p.at_us + {MINUTE_US}"
            f" WHERE q.event_time > from_us({row[0]})"
        ).to_arrow_table()
        return new_versions(made, held, NOTHING_WENT, self._set, self._clock.now_us())

    def _look(self, table: FeaturesTable) -> MadeOf | None:
        """Bring table and views to one and the same metadata; return what its rows are made of."""
        for _ in range(LOOKS_MAX):
            table.refresh()
            self._client.refresh()
            seen = self._client.snapshots.get(self._dataset)
            if seen is not None and seen.metadata_location == table.table.metadata_location:
                return table.made_of()
        raise Unavailable(f"lake.{self._dataset}", "its catalog moves all the time", "run it again")


_SERIES_LIST = ", ".join(SERIES)
_SAME = " AND ".join(f"q.{name} = p.{name}" for name in SERIES)
NOTHING_WENT = pa.table(
    {
        **{name: pa.array([], pa.string()) for name in (*SERIES, "interval")},
        **{name: pa.array([], pa.int64()) for name in ("first_us", "last_us")},
    }
)
"""Quotes leave the lake by age, and their minutes' features stay."""

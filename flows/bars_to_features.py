"""Features from bars, a set at a time: what changed bars change, and no other row.

A run compares the bars' snapshot with the one that the features are made of, reads each changed
series from its lookback before the first change to its lookback after the last, and adds the rows
whose values are other than those held. Sets that take something beside the bars say what a change
of that concerns (flows/feature_sources.py). It needs no Prefect. Whoever kills it loses one commit;
the next run finds what was added, and adds the rest.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from feature_repo.feature_set import MARKET
from feature_repo.versions import SERIES, computed, new_versions
from flows.feature_maker import LOOKS_MAX, FeatureMaker, Step
from flows.feature_sources import SERIES_LIST, SOURCES, BarsAlone
from lake.bars.bars_table import marks_of
from lake.bars.kernel import WIDTHS_US
from lake.errors import Unavailable
from lake.features.changed_bars import BARS, LEFT_OUT, SPAN, changed_series
from lake.features.features_table import FeaturesTable, MadeOf
from lake.parts import ShowPart, by_parts, nobody
from lake.tables.catalog import known_table

ROWS_MAX = 2_000_000
"""Bars of one reading and computing; a series alone may have more."""

REACH = 4
"""Times the lookback, by the clock, that is read at first for the bars before a change."""


class BarsToFeatures(FeatureMaker):
    """Makes features of one lakehouse's bars; one thread uses it at a time. A context manager."""

    default_set = MARKET.name
    at_once = ROWS_MAX

    @property
    def _source(self) -> BarsAlone:
        """How the set takes bars, and what beside them."""
        return SOURCES[self._set.name](self._set)

    def step(self, show: ShowPart = nobody) -> Step:
        """Add what lacks; raises Unavailable when another run was first: call it again.

        show: is told how far it is.
        """
        with self._opened() as (catalog, epoch):
            if known_table(catalog, BARS) is None:
                return Step(0, 0)
            table = self._table(catalog, epoch)
            bars = self._look(catalog, table)
            head, made = bars.current_snapshot(), table.made_of()
            if made is not None and made.set_version != self._set.version:
                made = None
            scores = self._source.scores_upto(self._client.frames, made.scores if made else {})
            if head is None:
                return Step(0, 0)
            of = MadeOf(head.snapshot_id, self._set.version, marks_of(bars), scores)
            if made is not None and (made.bars_snapshot, made.scores) == (of.bars_snapshot, scores):
                return Step(0, 0)
            spans = self._spans(bars, made, of)
            groups = list(self._groups(spans))
            return self._added(table, of, map(self._rows, by_parts(groups, show)), spans.num_rows)

    def _spans(self, bars: Table, made: MadeOf | None, of: MadeOf) -> pa.Table:
        """Return what has changed since; all, where that can't be told."""
        spans = changed_series(bars, made.bars_snapshot if made else None)
        connection = self._client.duckdb
        if spans is None:
            spans = connection.execute(
                f"{SPAN} FROM lake.{BARS} WHERE \"interval\" <> '{LEFT_OUT}' GROUP BY ALL"
                " ORDER BY ALL"
            ).to_arrow_table()
        return self._source.concerned(connection, spans, made.scores if made else {}, of.scores)

    def _look(self, catalog: SqlCatalog, table: FeaturesTable) -> Table:
        """Bring table and views to one and the same metadata; return the table of bars."""
        for _ in range(LOOKS_MAX):
            table.refresh()
            bars = known_table(catalog, BARS)
            self._client.refresh()
            seen = {name: each.metadata_location for name, each in self._client.snapshots.items()}
            wanted = (bars.metadata_location if bars else None, table.table.metadata_location)
            if bars is not None and (seen.get(BARS), seen.get(self._dataset)) == wanted:
                return bars
        raise Unavailable(f"lake.{self._dataset}", "the catalog moves all the time", "run it again")

    def _groups(self, spans: pa.Table) -> Iterator[pa.Table]:
        """Yield the spans of one interval together, so many that their bars fit."""
        first, rows = 0, 0
        at = spans.to_pydict()
        for number in range(spans.num_rows):
            interval = at["interval"][number]
            width_us = WIDTHS_US[interval]
            mine = (at["last_us"][number] - at["first_us"][number]) // width_us + self._reach
            if number > first and (
                interval != at["interval"][first] or rows + mine > self._rows_max
            ):
                yield spans.slice(first, number - first)
                first, rows = number, 0
            rows += mine
        if spans.num_rows:
            yield spans.slice(first)

    @property
    def _reach(self) -> int:
        return 2 * self._set.lookback

    def _rows(self, spans: pa.Table) -> pa.Table:
        """Return the rows that the changes of these series, of one interval, add."""
        interval = spans["interval"][0].as_py()
        width_us, now_us = WIDTHS_US[interval], self._clock.now_us()
        ends = spans
        for name in ("first_us", "last_us"):
            shifted = pa.array(spans[name].to_numpy() + width_us)
            ends = ends.set_column(ends.column_names.index(name), name, shifted)
        connection = self._client.duckdb
        connection.register("spans", ends)
        bars = self._source.beside(connection, self._bars(spans, interval))
        connection.register("made", computed(bars, self._set))
        since = min(ends["first_us"].to_pylist())
        concerned, held = (
            connection.execute(
                f"SELECT r.* FROM {relation} AS r JOIN spans USING ({SERIES_LIST})"
                f" WHERE r.\"interval\" = '{interval}' AND r.event_time >= from_us({since})"
                " AND epoch_us(r.event_time) >= first_us"
            ).to_arrow_table()
            for relation in ("made", f"lake.{self._dataset}")
        )
        return new_versions(concerned, held, ends, self._set, now_us)

    def _bars(self, spans: pa.Table, interval: str) -> pa.Table:
        """Return the bars of these spans, with lookback - 1 before each, and as many after.

        In order. Where a series has so many gaps that the time at first read holds too few, all
        that came before is read.
        """
        before, first_us = self._set.lookback - 1, min(spans["first_us"].to_pylist())
        connection = self._client.duckdb
        connection.register("bar_spans", spans)
        near_us = max(0, first_us - REACH * before * WIDTHS_US[interval])
        query = _BARS.format(self._source.relation(_WHERE))
        bars = connection.execute(query, _bounds(interval, near_us, before)).to_arrow_table()
        connection.register("near", bars)
        row = connection.execute(
            "SELECT count(*) FROM (SELECT count(n.ticker) AS there FROM bar_spans AS s LEFT JOIN"
            f" near AS n ON {_SAME.format('n', 's')} AND epoch_us(n.event_time) < s.first_us"
            f" GROUP BY {', '.join(f's.{name}' for name in QUOTED)})"
            f" WHERE there < {before}"
        ).fetchone()
        assert row is not None
        if row[0] and near_us:
            bars = connection.execute(query, _bounds(interval, 0, before)).to_arrow_table()
        return bars


def _bounds(interval: str, first_us: int, around: int) -> dict[str, object]:
    return {"interval": interval, "first": first_us, "around": around}


QUOTED = tuple(f'"{name}"' for name in SERIES)
_SAME = " AND ".join(f"{{0}}.{name} = {{1}}.{name}" for name in QUOTED)
_WHERE = '"interval" = $interval AND event_time >= from_us($first)'
_BARS = f"""
SELECT * EXCLUDE (place, early, late) FROM (
  SELECT b.*, epoch_us(b.event_time) < s.first_us AS early,
    epoch_us(b.event_time) > s.last_us AS late,
    CASE WHEN early THEN row_number() OVER (PARTITION BY {SERIES_LIST}, early
        ORDER BY b.event_time DESC)
      ELSE row_number() OVER (PARTITION BY {SERIES_LIST}, late ORDER BY b.event_time) END AS place
  FROM ({{}}) AS b
  JOIN bar_spans AS s USING ({SERIES_LIST}))
WHERE NOT early AND NOT late OR place <= $around
ORDER BY {SERIES_LIST}, event_time
"""

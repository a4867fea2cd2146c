"""Labels from bars: what changed bars change, and no other row.

A run compares the bars' snapshot with the one that the labels are made of, reads each changed
series so far around the change as labels reach, and adds the rows that are other than those held.
It needs no Prefect. Whoever kills it loses one commit; the next run adds the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from feature_repo.labels.versions import BEFORE, HORIZONS, labelled, new_versions
from feature_repo.versions import SERIES
from flows.jobs import LABELS
from lake.bars.bars_table import marks_of
from lake.bars.kernel import WIDTHS_US, teach
from lake.clock import Clock
from lake.errors import Unavailable
from lake.features.changed_bars import BARS, LEFT_OUT, SPAN, changed_series
from lake.features.labels_table import DATASET, LabelsTable
from lake.hot.turn import TURN_S_MAX, turn
from lake.lineage.destination import NAMESPACE
from lake.lineage.job import lake
from lake.lineage.run import Run, Teller
from lake.parts import ShowPart, by_parts, nobody
from lake.quarantine.held_batch import decided
from lake.steps import Steps
from lake.tables.catalog import known_table, open_catalog
from lake.views.client import Client
from lake.warehouse import Warehouse

ROWS_MAX = 2_000_000
"""Bars of one reading; a series alone may have more."""

REACH = 4
"""Times the bars that labels reach, by the clock, that is read at first around a change."""

LOOKS_MAX = 5
"""Looks at a catalog that moves meanwhile."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one run did: rows added, series looked at."""

    put: int
    series: int

    def line(self) -> str:
        """Return it in words."""
        return f"{self.put:,} labels added, of {self.series:,} series"


def label_bars(
    dsn: str,
    warehouse: Warehouse,
    clock: Clock,
    *,
    steps: Steps | None = None,
    rows_max: int = ROWS_MAX,
    wait_s: float = TURN_S_MAX,
    namespace: str = NAMESPACE,
    show: ShowPart = nobody,
) -> Step:
    """Add the labels that lack; raises Unavailable when another run was first: call it again.

    show: is told how far it is.
    """
    with (
        turn(dsn, DATASET, wait_s=wait_s) as held,
        closing(open_catalog(dsn, warehouse, epoch=held.epoch, lease=DATASET)) as catalog,
        Client(dsn, warehouse) as client,
    ):
        if known_table(catalog, BARS) is None:
            return Step(0, 0)
        teach(client.duckdb)
        table = LabelsTable(catalog, epoch=held.epoch, steps=steps)
        bars = _look(catalog, table, client)
        head, since = bars.current_snapshot(), table.bars_snapshot
        if head is None or since == head.snapshot_id:
            return Step(0, 0)
        marks, put = marks_of(bars), 0
        run = Run(Teller(dsn, clock, namespace), LABELS)
        spans = _spans(client, bars, since)
        with run.ends():
            for group in by_parts(list(_groups(spans, rows_max)), show):
                rows = decided(dsn, DATASET, _rows(client, group, clock.now_us()), clock)
                if rows.num_rows:
                    put += rows.num_rows
                    run.wrote(lake(DATASET), table.append(rows, marks), rows.num_rows)
                    run.tell("RUNNING" if run.told else "START", brief=run.told)
            table.move(head.snapshot_id, marks)
        return Step(put, spans.num_rows)


def _look(catalog: SqlCatalog, table: LabelsTable, client: Client) -> Table:
    """Bring table and views to one and the same metadata; return the table of bars."""
    for _ in range(LOOKS_MAX):
        table.refresh()
        bars = known_table(catalog, BARS)
        client.refresh()
        seen = {name: each.metadata_location for name, each in client.snapshots.items()}
        wanted = (bars.metadata_location if bars else None, table.table.metadata_location)
        if bars is not None and (seen.get(BARS), seen.get(DATASET)) == wanted:
            return bars
    raise Unavailable(f"lake.{DATASET}", "the catalog moves all the time", "run it again")


def _spans(client: Client, bars: Table, since: int | None) -> pa.Table:
    """Return the series that changed, by interval; all, where that can't be told."""
    found = changed_series(bars, since)
    if found is None:
        found = client.duckdb.execute(
            f"{SPAN} FROM lake.{BARS} WHERE \"interval\" <> '{LEFT_OUT}' GROUP BY ALL"
        ).to_arrow_table()
    return found.sort_by([(name, "ascending") for name in ("interval", *SERIES[:-1])])


def _groups(spans: pa.Table, rows_max: int) -> Iterator[pa.Table]:
    """Yield the spans of one interval together, so many that their bars fit."""
    first, rows = 0, 0
    at = spans.to_pydict()
    for number, interval in enumerate(at["interval"]):
        width_us = WIDTHS_US[interval]
        mine = (at["last_us"][number] - at["first_us"][number]) // width_us + 2 * _reach(interval)
        if number > first and (interval != at["interval"][first] or rows + mine > rows_max):
            yield spans.slice(first, number - first)
            first, rows = number, 0
        rows += mine
    if spans.num_rows:
        yield spans.slice(first)


def _reach(interval: str) -> int:
    return HORIZONS[interval] + BEFORE


def _rows(client: Client, spans: pa.Table, now_us: int) -> pa.Table:
    """Return the rows that the changes of these series, of one interval, add."""
    changed = labelled(_bars(client, spans), spans)
    client.duckdb.register("regions", changed.regions)
    held = client.duckdb.execute(
        f"SELECT l.* FROM lake.{DATASET} AS l JOIN regions USING ({_LIST})"
        " WHERE epoch_us(l.event_time) BETWEEN first_us AND last_us"
    ).to_arrow_table()
    return new_versions(changed, held, now_us)


def _bars(client: Client, spans: pa.Table) -> pa.Table:
    """Return the bars of these spans, with as many before and after each as labels reach.

    In order. Where a series has so many gaps that the time at first read holds too few before it,
    all that came before is read.
    """
    interval = spans["interval"][0].as_py()
    reach = _reach(interval)
    first_us = min(spans["first_us"].to_pylist())
    client.duckdb.register("label_spans", spans)
    near_us = max(0, first_us - REACH * reach * WIDTHS_US[interval])
    bounds = {"interval": interval, "first": near_us, "around": reach}
    near = client.duckdb.execute(_BARS, bounds).to_arrow_table()
    client.duckdb.register("label_bars", near)
    [(few,)] = client.duckdb.execute(_FEW, {"around": reach}).fetchall()
    if few and near_us:
        near = client.duckdb.execute(_BARS, {**bounds, "first": 0}).to_arrow_table()
    return near


_LIST = ", ".join(f'"{name}"' for name in SERIES)
_BARS = f"""
SELECT * EXCLUDE (place, early, late) FROM (
  SELECT b.*, epoch_us(b.event_time) < s.first_us AS early,
    epoch_us(b.event_time) > s.last_us AS late,
    CASE WHEN early THEN row_number() OVER (PARTITION BY {_LIST}, early
        ORDER BY b.event_time DESC)
      ELSE row_number() OVER (PARTITION BY {_LIST}, late ORDER BY b.event_time) END AS place
  FROM (SELECT {_LIST}, event_time, received_time, high, low, close FROM lake.{BARS}
    WHERE "interval" = $interval AND event_time >= from_us($first)) AS b
  JOIN label_spans AS s USING ({_LIST}))
WHERE NOT early AND NOT late OR place <= $around
ORDER BY {_LIST}, event_time
"""
_SAME = " AND ".join(f'n."{name}" = s."{name}"' for name in SERIES)
_FEW = f"""
SELECT count(*) FROM (
  SELECT count(n.ticker) AS there FROM label_spans AS s
  LEFT JOIN label_bars AS n ON {_SAME} AND epoch_us(n.event_time) < s.first_us
  GROUP BY {", ".join(f's."{name}"' for name in SERIES)})
WHERE there < $around
"""

"""Which series of bars have changed between two snapshots of their table, and from when to when.

By the files that only one of the two has: the cost follows what was written since, and rows that
were only moved to another file, or written again as they were, are no change.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.table import Table

from lake.bars.kernel import COLUMNS, SERIES
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.in_memory import ARROW_ROWS, in_memory
from lake.tables.commit import faults_of

BARS = "bars"
LEFT_OUT = "1s"
"""Interval without features in the lake: sixty times the rows, for whom seconds matter live."""

SPAN = (
    f'SELECT {", ".join(SERIES)}, "interval", min(epoch_us(event_time)) AS first_us,'
    " max(epoch_us(event_time)) AS last_us"
)


def changed_series(table: Table, since: int | None) -> pa.Table | None:
    """Return the series with bars that came, went or changed since a snapshot.

    Columns: ticker, exchange, market, interval, and first_us, last_us: the start of the first and
    of the last bar concerned, inclusive, in microseconds since the epoch. None where the snapshot
    is not there to compare with: then everything may have changed.
    """
    known = {each.snapshot_id for each in table.metadata.snapshots}
    if since is None or since not in known:
        return None
    with faults_of(BARS):
        now, before = _files(table, None), _files(table, since)
        added = _rows(table, sorted(now - before))
        removed = _rows(table, sorted(before - now))
    with in_memory() as connection:
        connection.register("added", added)
        connection.register("removed", removed)
        found = connection.execute(
            f"{SPAN} FROM ((FROM added EXCEPT FROM removed) UNION ALL"
            " (FROM removed EXCEPT FROM added)) GROUP BY ALL ORDER BY ALL"
        )
        return found.to_arrow_table(ARROW_ROWS)


def _files(table: Table, snapshot_id: int | None) -> set[str]:
    return {task.file.file_path for task in table.scan(snapshot_id=snapshot_id).plan_files()}


def _rows(table: Table, paths: list[str]) -> pa.Table:
    schema = arrow_schema(load(BARS))
    parts = [schema.empty_table()]
    for path in paths:
        with table.io.new_input(path).open() as source:
            rows = pq.read_table(source, filters=[("interval", "!=", LEFT_OUT)])
        parts.append(rows.select(list(COLUMNS)).cast(schema))
    return pa.concat_tables(parts)

"""What flows wrote into the hot tier goes to the lake, by the number of its rows.

The lake's table says through which number it holds them, in the commit that appends them, under
the turn and the lease of the dataset's name; so any number of runs, killed anywhere, take each row
once. Rows stay in the hot tier as well.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import psycopg
import pyarrow as pa
from psycopg import sql

from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import NUMBERED_DATASETS, load
from lake.hot.lease import Lease
from lake.hot.turn import TURN_S_MAX, turn
from lake.steps import Steps
from lake.tables.catalog import open_catalog
from lake.tables.lake_table import LakeTable
from lake.warehouse import Warehouse

ROWS_MAX = 20_000
"""Rows of one commit: an event of lineage is some 20 KB."""

COMMITS_MAX = 100
"""Commits of one dataset in one run; what is left goes with the next."""

PLACE = 0
"""The lake's mark is one of a shard; a book of flows has one row of numbers, this."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run took to the lake: rows, through which number, the snapshot if any."""

    dataset: str
    rows: int
    through: int
    snapshot_id: int | None

    def line(self) -> str:
        """Return it in words."""
        return f"{self.dataset}: {self.rows:,} rows to the lake, which holds {self.through:,}"


def take(
    dsn: str,
    warehouse: Warehouse,
    dataset: str,
    *,
    steps: Steps | None = None,
    wait_s: float = TURN_S_MAX,
) -> Taken:
    """Take a dataset's new rows; raises Unavailable while another run holds its turn."""
    with turn(dsn, dataset, wait_s=wait_s) as held:
        return take_in_turn(dsn, warehouse, dataset, held, steps=steps)


def take_in_turn(
    dsn: str, warehouse: Warehouse, dataset: str, held: Lease, *, steps: Steps | None = None
) -> Taken:
    """Take a dataset's new rows in the turn that whoever wrote them holds."""
    rows = 0
    snapshot_id = None
    with (
        closing(open_catalog(dsn, warehouse, epoch=held.epoch, lease=dataset)) as catalog,
        psycopg.connect(dsn, autocommit=True) as connection,
    ):
        table = LakeTable(catalog, dataset, epoch=held.epoch, steps=steps)
        for _ in range(COMMITS_MAX):
            table.refresh()
            through = table.holdings().through.get(PLACE, 0)
            found = _rows_after(connection, dataset, through)
            if not found.num_rows:
                break
            through = int(found[NUMBERED_DATASETS[dataset]][-1].as_py())
            table.append(found, {PLACE: through})
            snapshot_id = table.table.metadata.current_snapshot_id
            rows += found.num_rows
    return Taken(dataset, rows, through, snapshot_id)


def _rows_after(connection: psycopg.Connection, dataset: str, number: int) -> pa.Table:
    """Return the rows after a number, in its order."""
    schema = arrow_schema(load(dataset))
    by = sql.Identifier(NUMBERED_DATASETS[dataset])
    query = sql.SQL("SELECT {} FROM market.{} WHERE {} > %s ORDER BY {} LIMIT %s").format(
        sql.SQL(", ").join(map(sql.Identifier, schema.names)), sql.Identifier(dataset), by, by
    )
    rows = connection.execute(query, (number, ROWS_MAX)).fetchall()
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(list(c), field.type) for c, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)

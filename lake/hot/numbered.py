"""What flows write into the hot tier: rows numbered from 1 without a hole, added and never changed.

The number is given under a lock of the dataset's, so whoever has read up to a number has read all
below it; by it the rows go to the lake.
"""

from __future__ import annotations

import psycopg
import pyarrow as pa
from psycopg import sql

from lake.contracts.contract import NUMBERED_DATASETS, load
from lake.errors import WrongUse

ROWS_MAX = 1_000_000
"""Rows of one call: they go in one transaction."""


def append(connection: psycopg.Connection, dataset: str, rows: pa.Table) -> int:
    """Add rows, all or none; return the number of the last there is.

    rows: the contract's columns without the number, in any order; others are refused. The
    connection is in autocommit. Raises WrongUse for rows that are not the contract's.
    """
    number = NUMBERED_DATASETS[dataset]
    names = [name for name in load(dataset).names if name != number]
    if set(rows.column_names) != set(names) or rows.num_rows > ROWS_MAX:
        fault = f"has columns {', '.join(rows.column_names)} and {rows.num_rows:,} rows"
        raise WrongUse(f"{dataset} rows", fault, f"give {', '.join(names)}, {ROWS_MAX:,} at most")
    table = sql.Identifier("market", dataset)
    with connection.transaction():
        lock = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
        connection.execute(lock, (f"market.{dataset}",))
        last = sql.SQL("SELECT coalesce(max({}), 0) FROM {}").format(sql.Identifier(number), table)
        row = connection.execute(last).fetchone()
        first = int(row[0]) + 1 if row else 1
        copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
            table, sql.SQL(", ").join(map(sql.Identifier, [number, *names]))
        )
        columns = [rows[name].to_pylist() for name in names]
        with connection.cursor().copy(copy) as into:
            for n, values in enumerate(zip(*columns, strict=True), first):
                into.write_row((n, *values))
    return first + int(rows.num_rows) - 1

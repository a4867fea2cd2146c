"""The lake's days: which files hold rows of one, how many, and when the last of them came."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.types import TimestamptzType

from lake.archive.content import Content
from lake.contracts.ages import time_name
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import LAKE_ONLY_DATASETS, load
from lake.hot.batches import last_write
from lake.tables.data_file import DAY_US
from lake.tables.upkeep import live_files

EPOCH_DAY = date(1970, 1, 1)

ARCHIVE_ROWS_MAX = 1_000_000
"""Rows of one file of the archive, and of what is in memory at once."""


@dataclass(frozen=True, slots=True)
class LakeDay:
    """A UTC day of a lake table; of a file with several days, each has an equal share."""

    dataset: str
    day: date
    files: tuple[DataFile, ...]
    rows: int
    bytes: int


def lake_days(dataset: str, table: Table) -> list[LakeDay]:
    """Return the days of a table's head, oldest first."""
    found: dict[date, list[tuple[DataFile, int]]] = {}
    for file in live_files(table, AlwaysTrue()):
        first, last = _span(table, dataset, file)
        for number in range(first, last + 1):
            day = EPOCH_DAY + timedelta(days=number)
            found.setdefault(day, []).append((file, last - first + 1))
    return [
        LakeDay(
            dataset,
            day,
            tuple(file for file, _ in files),
            sum(file.record_count // parts for file, parts in files),
            sum(file.file_size_in_bytes // parts for file, parts in files),
        )
        for day, files in sorted(found.items())
    ]


def _span(table: Table, dataset: str, file: DataFile) -> tuple[int, int]:
    """Return the first and the last day (since the epoch, inclusive) that a file has rows of."""
    if len(file.partition):
        return int(file.partition[0]), int(file.partition[0])
    number = table.schema().find_field(time_name(dataset)).field_id
    bounds = (file.lower_bounds[number], file.upper_bounds[number])
    low, high = (int(from_bytes(TimestamptzType(), bound)) // DAY_US for bound in bounds)
    return low, high


def _parts_of_day(table: Table, day: LakeDay) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield of each file the rows of the day, and the others, as the contract has them."""
    for file in day.files:
        with table.io.new_input(file.file_path).open() as source:
            rows = _as_contract(day.dataset, pq.read_table(source))
        if len(file.partition):
            yield rows, rows.slice(0, 0)
            continue
        days = rows[time_name(day.dataset)].cast(pa.int64()).to_numpy() // DAY_US
        within = pa.array(np.equal(days, (day.day - EPOCH_DAY).days))
        yield rows.filter(within), rows.filter(pc.invert(within))


def _as_contract(dataset: str, rows: pa.Table) -> pa.Table:
    """Return the columns of the contract; one that a file is too old to have is null."""
    schema = arrow_schema(load(dataset))
    columns = [
        rows[field.name].cast(field.type)
        if field.name in rows.column_names
        else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def ledger_of_day(
    connection: psycopg.Connection, dataset: str, day: date
) -> tuple[Content, dict[int, int]]:
    """Return what the ledger says of a day, and each shard's last frame with rows of it.

    Bars have no ledger: theirs is that of the trades that they are made of, for its frames.
    """
    source = "crypto_trades" if dataset in LAKE_ONLY_DATASETS else dataset
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = connection.execute(
        "SELECT shard::int, sum(rows), sum(sum_a), sum(sum_b), sum(digest), max(last_frame)"
        " FROM market.ledger_minutes WHERE dataset = %s AND minute >= %s AND minute < %s"
        " GROUP BY 1",
        (source, start, start + timedelta(days=1)),
    ).fetchall()
    total = Content()
    for row in rows:
        total += Content.read(row[1:5])
    return total, {int(row[0]): int(row[5]) for row in rows}


def came_at(connection: psycopg.Connection, dataset: str, day: date) -> datetime:
    """Return when the last row of a day was stored; history that came late ages from then on."""
    return last_write(connection, ledger_of_day(connection, dataset, day)[1])


def is_past(day: date, came: datetime, age_days: int, now: datetime) -> bool:
    """Tell whether an age has passed since a day's end and since its last row came."""
    end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    return max(end, came) + timedelta(days=age_days) <= now


def gathered(table: Table, day: LakeDay, rest: list[pa.Table]) -> Iterator[pa.Table]:
    """Yield the day's rows in tables of about ARCHIVE_ROWS_MAX; what stays goes into `rest`."""
    held: list[pa.Table] = []
    for rows, others in _parts_of_day(table, day):
        if others.num_rows:
            rest.append(others)
        if rows.num_rows:
            held.append(rows)
        if sum(each.num_rows for each in held) >= ARCHIVE_ROWS_MAX:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)

"""Write the Parquet files of a table, one per partition, with encodings that suit ticks."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import parquet_file_to_data_file, schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

Int64 = npt.NDArray[np.int64]

DAY_US = 86_400_000_000
ROW_GROUP_ROWS = 122_880
"""Rows a row group at most: what DuckDB scans at once, and little beside one ticker's day."""

ROW_GROUP_ROWS_MIN = 32_768
"""Rows from which on a row group of a sorted file ends where its ticker does, so that whoever asks
for one reads little of the next; smaller groups cost a tenth and more of the file's size."""

REPEATING = frozenset(
    {"ticker", "exchange", "market", "side", "conditions", "shard", "interval", "asset", "source"}
    | {"event_time_source", "feed", "reason", "connection"}
)
"""Columns with few values, worth a dictionary."""

COMPRESSION_LEVEL_COMMIT = 1
COMPRESSION_LEVEL_COMPACT = 3
COMPRESSION_LEVEL_LARGE = 9
"""A tenth smaller for three times the CPU: for files that are hardly written again."""

LARGE_ROWS_MIN = 100_000
"""Rows from which on a compact file is packed hardest."""

COUNTED_IDS = frozenset({"trade_id"})
"""Texts that venues count: sorted, each is the one before but for its last digits."""


def write_data_files(
    table: Table, rows: pa.Table, *, time_column: str | None, compact: bool = False
) -> list[DataFile]:
    """Write rows as one file per UTC day of time_column (one file in all without it).

    The rows' order is kept; compact files are packed harder.
    """
    schema = _file_schema(table)
    return [
        _write(table, part.cast(schema), folder, compact)
        for folder, part in _by_day(rows, time_column)
    ]


def _file_schema(table: Table) -> pa.Schema:
    """Return the table's schema with field ids, and texts as our rows have them.

    pyiceberg makes them large, which costs a copy and is the same in a file.
    """
    small = {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}
    schema = schema_to_pyarrow(table.schema(), include_field_ids=True)
    return pa.schema([field.with_type(small.get(field.type, field.type)) for field in schema])


def _by_day(rows: pa.Table, time_column: str | None) -> Iterator[tuple[str, pa.Table]]:
    if not rows.num_rows:
        return
    if time_column is None:
        yield "", rows
        return
    times = rows[time_column].cast(pa.int64())
    bounds = pc.min_max(times)
    first, last = (bounds[end].as_py() // DAY_US for end in ("min", "max"))
    if first == last:
        yield _folder(time_column, first), rows
        return
    days = times.to_numpy() // DAY_US
    for day in np.unique(days).tolist():
        yield _folder(time_column, day), rows.filter(pa.array(days == day))


def _folder(time_column: str, day: int) -> str:
    return f"{time_column}_day={np.datetime64(day, 'D')}/"


def _write(table: Table, rows: pa.Table, folder: str, compact: bool) -> DataFile:
    path = f"{table.location()}/data/{folder}{uuid.uuid4().hex}.parquet"
    options = parquet_options(rows.schema, compact=compact, rows=rows.num_rows)
    with (
        table.io.new_output(path).create() as sink,
        pq.ParquetWriter(sink, rows.schema, **options) as writer,
    ):
        for group in _row_groups(table, rows) if compact else (rows,):
            writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
    return known_file(table, path)


def known_file(table: Table, path: str) -> DataFile:
    """Return the entry of a file that is written already, from its footer; raises OSError."""
    return parquet_file_to_data_file(table.io, table.metadata, path)


def _row_groups(table: Table, rows: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows of a sorted file in parts that end where a value of its first column does."""
    order = table.sort_order().fields
    name = table.schema().find_column_name(order[0].source_id) if order else None
    ends = _ends(rows[name]) if name else []
    start = 0
    for end in ends:
        if end - start >= ROW_GROUP_ROWS_MIN and rows.num_rows - end >= ROW_GROUP_ROWS_MIN:
            yield rows.slice(start, end - start)
            start = end
    yield rows.slice(start)


def _ends(column: pa.ChunkedArray) -> list[int]:
    """Return where each value of a sorted column of texts ends, but for the last; others: none."""
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        return []
    runs = pc.run_end_encode(column.combine_chunks())
    ends: list[int] = runs.run_ends.to_pylist()
    return ends[:-1]


def parquet_options(schema: pa.Schema, *, compact: bool, rows: int = 0) -> dict[str, Any]:
    """Return the writer's options: deltas for what rises, dictionaries for what repeats.

    rows: how many the file will have. Prices, sizes and ids hardly repeat: a dictionary of them
    costs twice the time and half again the bytes. Byte-stream-split and delta-byte-array of
    decimals are larger than plain ones after zstd (recorded ticks: by a fifth, by a twentieth).
    """
    delta = [f.name for f in schema if pa.types.is_timestamp(f.type) or pa.types.is_int64(f.type)]
    encodings = dict.fromkeys(delta, "DELTA_BINARY_PACKED")
    level = COMPRESSION_LEVEL_COMMIT
    if compact:
        encodings |= {name: "DELTA_BYTE_ARRAY" for name in schema.names if name in COUNTED_IDS}
        large = rows >= LARGE_ROWS_MIN
        level = COMPRESSION_LEVEL_LARGE if large else COMPRESSION_LEVEL_COMPACT
    return {
        "compression": "zstd",
        "compression_level": level,
        "use_dictionary": [name for name in schema.names if name in REPEATING],
        "column_encoding": encodings,
        "write_page_index": compact,
        "store_schema": False,
    }


def time_column_of(table: Table) -> str | None:
    """Return the column that the table is partitioned by day of; None when it is not."""
    fields = table.spec().fields
    return table.schema().find_column_name(fields[0].source_id) if fields else None


def sorted_rows(rows: pa.Table, columns: list[str]) -> pa.Table:
    """Return the rows sorted by these columns, ascending; nulls are not told from zero or "".

    Column by column, each let go of once it is copied: where the caller keeps none of the rows
    either, memory holds them once. One chunk is taken from in half the time of many.
    """
    schema = rows.schema
    order = pa.array(np.lexsort([_rank(rows[name]) for name in reversed(columns)]))
    taken = []
    for name in schema.names:
        taken.append(rows[name].combine_chunks().take(order))
        rows = rows.drop_columns(name)
    return pa.table(taken, schema=schema)


def _rank(column: pa.ChunkedArray) -> Int64:
    """Return numbers that sort as the column does: to sort texts costs four times as much."""
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        return np.asarray(column.cast(pa.int64()).fill_null(0).to_numpy(), np.int64)
    encoded = column.combine_chunks().dictionary_encode()
    rank = np.empty(len(encoded.dictionary) + 1, np.int64)
    rank[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(encoded.dictionary))
    rank[-1] = -1
    codes = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)
    return np.asarray(rank[codes], np.int64)

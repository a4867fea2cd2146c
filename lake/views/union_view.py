"""The union view: lake rows, and the hot rows beyond the lake's own watermark, in DuckDB's SQL.

A hot row is visible when its seq lies beyond `through` of its shard, as named by the very metadata
that the lake part is read from; so no row is shown twice and none is missing, whatever commits
meanwhile. So is a staged file (lake.views.staged) whose batch lies beyond it. Hot rows end with the
frame that was last when the book of these files was read: what is seen of a shard is all of it up
to a frame. The comparisons are plain, so that DuckDB pushes them into PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from lake.contracts.contract import (
    LAKE_ONLY_DATASETS,
    NUMBERED_DATASETS,
    Column,
    ColumnType,
    load,
)
from lake.views.engine import HOT_CATALOG, quote
from lake.views.snapshot import Snapshot
from lake.views.staged import Staged, beyond

UNION_DATASETS = (
    "crypto_trades",
    "crypto_quotes",
    "crypto_aggregates",
    "market_sentiment",
    "quarantine",
    "feed_gaps",
    "instruments",
    "ledger_minutes",
    "ingest_batches",
)
"""Datasets with a hot and a lake part."""

AGGREGATES = {"1m": 60, "5m": 300, "1h": 3_600, "1d": 86_400}
"""The bars that go by the name crypto_agg_<interval>, with their seconds."""

AGGREGATE_COLUMNS = (
    *("ticker", "exchange", "market", "bucket", "open", "high", "low", "close", "volume"),
    *("turnover", "vwap", "trades", "buy_volume", "sell_volume"),
)

SCHEMA = "market"

SEQ_MAX = 2**63 - 1

INDEX_BITS = 16
"""As in lake.feeds.codec, which is not imported: a query that needs no Arrow should not load it."""


def view_statements(
    snapshots: Mapping[str, Snapshot],
    hot_tables: Collection[str],
    shards: Collection[int],
    staged: Collection[Staged] = (),
) -> Iterator[str]:
    """Yield the statements that (re)create every view.

    hot_tables: tables that exist in PostgreSQL; shards: those known to the hot tier; staged: files
    that some snapshot may lack.
    """
    yield "CREATE SCHEMA IF NOT EXISTS lake"
    yield "CREATE SCHEMA IF NOT EXISTS hot"
    for dataset in UNION_DATASETS:
        yield from _union_statements(dataset, snapshots.get(dataset), hot_tables, shards, staged)
    for dataset in LAKE_ONLY_DATASETS:
        yield _view(f"lake.{dataset}", lake_sql(dataset, snapshots.get(dataset)))
        yield _view(dataset, f"FROM lake.{dataset}")
    for dataset in NUMBERED_DATASETS:
        yield from _numbered_statements(dataset, snapshots.get(dataset), hot_tables)
    for interval in AGGREGATES:
        is_hot = f"crypto_agg_{interval}" in hot_tables
        yield _view(
            f"crypto_agg_{interval}", aggregate_sql(interval, snapshots.get("bars"), is_hot)
        )


def _union_statements(
    dataset: str,
    snapshot: Snapshot | None,
    hot_tables: Collection[str],
    shards: Collection[int],
    staged: Collection[Staged],
) -> Iterator[str]:
    yield _view(f"lake.{dataset}", lake_sql(dataset, snapshot))
    if dataset in hot_tables:
        yield _view(f"hot.{dataset}", hot_sql(dataset))
        union = union_sql(dataset, snapshot, shards, staged, ends=True)
        yield _view(dataset, current_sql(dataset, union))
    else:
        yield _view(f"hot.{dataset}", lake_sql(dataset, None))
        yield _view(dataset, current_sql(dataset, lake_sql(dataset, snapshot)))


def _numbered_statements(
    dataset: str, snapshot: Snapshot | None, hot_tables: Collection[str]
) -> Iterator[str]:
    """Yield the views of what flows write: the lake's rows, and hot rows with a higher number."""
    lake, empty = lake_sql(dataset, snapshot), lake_sql(dataset, None)
    beyond = f"{NUMBERED_DATASETS[dataset]} > {numbered_through(snapshot)}"
    is_hot = dataset in hot_tables
    yield _view(f"lake.{dataset}", lake)
    yield _view(f"hot.{dataset}", hot_sql(dataset) if is_hot else empty)
    both = f"{lake} UNION ALL {hot_sql(dataset, beyond)}" if is_hot else lake
    yield _view(dataset, current_sql(dataset, both))


def numbered_through(snapshot: Snapshot | None) -> int:
    """Return the last number that the lake holds of what flows write; 0 for none."""
    return snapshot.through.get(0, 0) if snapshot else 0


def union_sql(
    dataset: str,
    snapshot: Snapshot | None,
    shards: Collection[int],
    staged: Collection[Staged] = (),
    *,
    ends: bool = False,
) -> str:
    """Select the lake's rows, and each shard's hot and staged rows beyond what that lake says it
    holds.

    ends: whether hot rows end where end_statements says; else they are all that there are.
    """
    through = snapshot.through if snapshot else {}
    hot = [
        hot_sql(
            dataset,
            beyond_sql(shard, through.get(shard))
            + (f" AND seq <= {end_of(shard)}" if ends else ""),
        )
        for shard in sorted(shards)
    ]
    files = beyond(dataset, through, staged)
    waiting = [staged_sql(dataset, files)] if files else []
    return " UNION ALL ".join([lake_sql(dataset, snapshot), *hot, *waiting])


def end_statements(frames: Mapping[int, int]) -> Iterator[str]:
    """Yield the statements that say with which frame the hot rows of each shard end."""
    for shard, frame in frames.items():
        yield f"SET VARIABLE {_end(shard)} = {last_seq(frame)}"


def end_of(shard: int) -> str:
    """Return DuckDB's words for the largest seq that the views show of a shard.

    A cursor of another's connection has no variables of it: there hot rows have no end.
    """
    return f"coalesce(getvariable('{_end(shard)}'), {SEQ_MAX})"


def _end(shard: int) -> str:
    return f"ticklake_end_{shard}"


def staged_sql(dataset: str, paths: Sequence[str]) -> str:
    """Select the rows of data files, typed and ordered as the contract."""
    columns = ", ".join(_typed(_name(column.name), column) for column in load(dataset).columns)
    return f"SELECT {columns} FROM {parquet_sql(dataset, paths)}"


def parquet_sql(dataset: str, paths: Sequence[str]) -> str:
    """Return DuckDB's relation over data files, columns by field id, with a column filename."""
    listed = ", ".join(quote(path) for path in paths)
    options = "filename = true, hive_partitioning = false"
    columns = load(dataset).columns
    if any(column.since for column in columns):
        # Files of before a column was added lack it, and some file of these may be the only one.
        fields = ", ".join(
            f"{column.id}: {{name: {quote(column.name)}, type: {quote(DUCKDB_TYPES[column.type])},"
            " default_value: NULL}"
            for column in columns
        )
        options += f", schema = MAP {{{fields}}}"
    return f"read_parquet([{listed}], {options})"


def current_sql(dataset: str, select: str) -> str:
    """Select the state now of each thing whose every change is a row; other datasets as they are.

    In the SQL of any engine of ours.
    """
    contract = load(dataset)
    if not contract.versioned_by:
        return select
    columns = ", ".join(_name(name) for name in contract.names)
    key = ", ".join(_name(name) for name in contract.key)
    newest = ", ".join(f"{_name(name)} DESC" for name in contract.versioned_by)
    return (
        f"SELECT {columns} FROM (SELECT *, row_number() OVER"
        f" (PARTITION BY {key} ORDER BY {newest}) AS newest FROM ({select}) AS changes) AS numbered"
        " WHERE newest = 1"
    )


def lake_sql(dataset: str, snapshot: Snapshot | None) -> str:
    """Select a dataset's lake rows, typed and ordered as the contract; no snapshot, no rows."""
    columns = load(dataset).columns
    if snapshot is None or not snapshot.manifest_list:
        nulls = ", ".join(_typed("NULL", column) for column in columns)
        return f"SELECT {nulls} WHERE false"
    select = ", ".join(
        _typed(_name(column.name) if column.name in snapshot.columns else "NULL", column)
        for column in columns
    )
    return f"SELECT {select} FROM iceberg_scan({quote(snapshot.metadata_location)})"


def hot_sql(dataset: str, where: str = "") -> str:
    """Select a dataset's hot rows in the contract's order."""
    columns = ", ".join(_name(name) for name in load(dataset).names)
    table = f"{HOT_CATALOG}.{SCHEMA}.{dataset}"
    return f"SELECT {columns} FROM {table}{f' WHERE {where}' if where else ''}"


def aggregate_sql(interval: str, bars: Snapshot | None, is_hot: bool) -> str:
    """Select the bars of an interval, and from the hot tier those of buckets not yet closed."""
    hot_columns = AGGREGATE_COLUMNS[4:]
    columns = ", ".join(_name(name) for name in hot_columns)
    series = ", ".join(AGGREGATE_COLUMNS[:3])
    closed = f"SELECT {series}, event_time AS bucket, {columns}"
    lake = f"{closed} FROM lake.bars WHERE \"interval\" = '{interval}'"
    if not is_hot:
        return lake
    first_us = max(0, (bars.closed_us if bars else 0) - AGGREGATES[interval] * 1_000_000 + 1)
    bars_contract = load("bars")
    exact = ", ".join(f"{_name(n)}::{bars_contract.column(n).physical_type}" for n in hot_columns)
    # In PostgreSQL's words: of a numeric without bounds DuckDB would make a double.
    query = (
        f"SELECT {series}, bucket, {exact} FROM {SCHEMA}.crypto_agg_{interval}"
        f" WHERE bucket >= to_timestamp(0) + interval '{first_us} us'"
    )
    return f"{lake} UNION ALL FROM postgres_query({quote(HOT_CATALOG)}, {quote(query)})"


def beyond_sql(shard: int, through: int | None) -> str:
    """Return the condition of a shard's rows beyond frame `through`; None: all of the shard's."""
    if through is None:
        return f"shard = {shard}"
    return f"shard = {shard} AND seq > {last_seq(through)}"


def through_sql(through: Mapping[int, int]) -> str:
    """Return the condition of the rows that a lake through these frames holds."""
    held = [f"(shard = {shard} AND seq <= {last_seq(last)})" for shard, last in through.items()]
    return f"({' OR '.join(held)})" if held else "false"


def last_seq(frame: int) -> int:
    """Return the largest seq that a row of this frame can have."""
    return (frame << INDEX_BITS) | ((1 << INDEX_BITS) - 1)


def _typed(value: str, column: Column) -> str:
    return f"CAST({value} AS {DUCKDB_TYPES[column.type]}) AS {_name(column.name)}"


def _view(name: str, select: str) -> str:
    return f"CREATE OR REPLACE VIEW {name} AS {select}"


def _name(column: str) -> str:
    return f'"{column}"'


DUCKDB_TYPES: Mapping[ColumnType, str] = {
    "text": "VARCHAR",
    "decimal": "DECIMAL(28, 10)",
    "total": "DECIMAL(38, 10)",
    "product": "DECIMAL(38, 20)",
    "digest": "DECIMAL(38, 0)",
    "time": "TIMESTAMP WITH TIME ZONE",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "binary": "BLOB",
    "double": "DOUBLE",
}

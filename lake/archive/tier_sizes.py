"""What each tier holds of each dataset, measured; and the book of these measurements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg
from pyiceberg.catalog.sql import SqlCatalog

from lake.contracts.contract import DATASETS
from lake.tables.commit import faults_of
from lake.tables.names import NAMESPACE
from lake.tables.table_size import table_size
from lake.tables.warehouse_io import WarehouseIO

KEPT_DAYS = 400
ALL = "all"
"""Stands for the dataset where a size is of all together."""

MODELLED, BUDGET = "modelled", "budget"
"""No tiers: the modelled cost of the last day's rate (rows: events a second), and the budget."""


@dataclass(frozen=True, slots=True)
class TierSize:
    """Rows and bytes of a dataset in a tier; rows of the hot tier are the server's estimate."""

    tier: str
    dataset: str
    rows: int
    bytes: int


_NATIVE = """
SELECT c.relname, sum(pg_stat_get_live_tuples(t.oid))::bigint, sum(pg_total_relation_size(t.oid))
FROM pg_class AS c CROSS JOIN LATERAL (
  SELECT relid::oid AS oid FROM pg_partition_tree(c.oid) UNION SELECT c.oid) AS t
WHERE c.relnamespace = 'market'::regnamespace AND c.relkind IN ('r', 'p')
  AND NOT c.relispartition AND c.relname = ANY(%s) GROUP BY 1
"""

_CHUNKED = """
SELECT c.hypertable_name, s.compress_relid IS NOT NULL, sum(pg_stat_get_live_tuples(k.oid))::bigint,
  sum(pg_total_relation_size(k.oid) + coalesce(pg_total_relation_size(s.compress_relid), 0))
FROM timescaledb_information.chunks AS c
CROSS JOIN LATERAL (
  SELECT format('%%I.%%I', c.chunk_schema, c.chunk_name)::regclass::oid AS oid) AS k
LEFT JOIN _timescaledb_catalog.compression_settings AS s ON s.relid = k.oid
WHERE c.hypertable_schema = 'market' AND c.hypertable_name = ANY(%s) GROUP BY 1, 2
"""


def tier_sizes(
    connection: psycopg.Connection, catalog: SqlCatalog, journal_bytes: int
) -> list[TierSize]:
    """Measure every tier; lists the lake's files, so it costs a request per thousand of them.

    snapshots: what only older snapshots and tags need, or what waits to be removed.
    """
    found = [*_hot(connection), TierSize("journal", ALL, 0, journal_bytes)]
    for dataset in DATASETS:
        size = table_size(catalog, dataset)
        if size is None:
            continue
        found.append(TierSize("lake", dataset, size.rows, size.bytes))
        with faults_of(dataset):
            table = catalog.load_table((NAMESPACE, dataset))
            assert isinstance(table.io, WarehouseIO)
            there = sum(file.bytes for file in table.io.listed(table.location()))
        found.append(TierSize("snapshots", dataset, 0, max(0, there - size.bytes)))
    rows = connection.execute(
        "SELECT dataset, sum(rows)::bigint, sum(bytes)::bigint FROM market.archive_files"
        " WHERE deleted_at IS NULL GROUP BY 1 ORDER BY 1"
    )
    return [*found, *(TierSize("archive", *row) for row in rows)]


def _hot(connection: psycopg.Connection) -> list[TierSize]:
    names = list(DATASETS)
    found = {
        str(name): TierSize("hot", str(name), int(rows), int(size))
        for name, rows, size in connection.execute(_NATIVE, (names,))
    }
    extension = connection.execute("SELECT FROM pg_extension WHERE extname = 'timescaledb'")
    chunked: list[TierSize] = []
    if extension.fetchone() is not None:
        for name, compressed, rows, size in connection.execute(_CHUNKED, (names,)):
            tier = "compressed" if compressed else "hot"
            chunked.append(TierSize(tier, str(name), int(rows), int(size)))
    for each in chunked:
        found.pop(each.dataset, None)
    return [*found.values(), *chunked]


def events_per_s(connection: psycopg.Connection, now: datetime) -> float:
    """Return the mean rate of events of the last 24 hours."""
    row = connection.execute(
        "SELECT coalesce(sum(events), 0) FROM market.ingest_batches"
        " WHERE committed_time > %s - interval '1 day' AND committed_time <= %s",
        (now, now),
    ).fetchone()
    return float(row[0]) / 86_400 if row else 0.0


def note_sizes(
    connection: psycopg.Connection,
    sizes: Iterable[tuple[TierSize, float]],
    now: datetime,
) -> None:
    """Write a measurement down, with dollars a month; older than KEPT_DAYS goes."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO market.tier_sizes VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [
                (now, each.tier, each.dataset, each.rows, each.bytes, round(dollars, 6))
                for each, dollars in sizes
            ],
        )
        cursor.execute(
            "DELETE FROM market.tier_sizes WHERE measured_at < %s - make_interval(days => %s)",
            (now, KEPT_DAYS),
        )


def bytes_by_tier(sizes: Iterable[TierSize]) -> Mapping[str, int]:
    """Return tier -> bytes."""
    found: dict[str, int] = {}
    for each in sizes:
        found[each.tier] = found.get(each.tier, 0) + each.bytes
    return found

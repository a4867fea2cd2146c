"""Units of the hot tier: what is proven piece by piece.

A unit is a whole table, or one UTC day of a tick table: a partition with all below it, or the
chunks of a hypertable, compressed or not. A compressed chunk reads like any other; compressing it
changes its stamp, so it is then proven anew once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from lake.views.engine import HOT_CATALOG

DAY_US = 86_400_000_000

WHOLE = "all"
"""The unit of a table that is not cut by day."""

Rows = Iterable[tuple[Any, ...]]

_DAY = re.compile(r"_p(\d{4})(\d{2})(\d{2})$")

_RESET = """coalesce((SELECT stats_reset FROM pg_stat_database
    WHERE datname = current_database())::text, '')
  || '/' || coalesce(pg_stat_get_bgwriter_stat_reset_time()::text, '')"""

_COUNTERS = f"""
  string_agg(concat_ws('/', r.oid, coalesce(pg_relation_filenode(r.oid), 0),
    coalesce(pg_stat_get_tuples_updated(r.oid), 0),
    coalesce(pg_stat_get_tuples_deleted(r.oid), 0)), ' ' ORDER BY r.oid)
    || '/' || {_RESET} AS stamp,
  sum(coalesce(pg_stat_get_tuples_inserted(r.oid), 0))::bigint AS inserted
"""

_NATIVE = f"""
SELECT c.relname AS dataset, coalesce(p.relname, c.relname) AS relation, {_COUNTERS}
FROM pg_class c LEFT JOIN pg_inherits i ON i.inhparent = c.oid
LEFT JOIN pg_class p ON p.oid = i.inhrelid
CROSS JOIN LATERAL (
  SELECT relid::oid AS oid FROM pg_partition_tree(coalesce(p.oid, c.oid)) WHERE isleaf
  UNION SELECT c.oid WHERE c.relkind = 'r') r
WHERE c.relnamespace = 'market'::regnamespace AND c.relkind IN ('r', 'p')
  AND NOT c.relispartition AND (c.relkind = 'r' OR p.oid IS NOT NULL)
"""

_CHUNKED = f"""
SELECT c.hypertable_name AS dataset, to_char(c.range_start AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day,
  {_COUNTERS}
FROM timescaledb_information.chunks c
CROSS JOIN LATERAL (SELECT format('%I.%I', c.chunk_schema, c.chunk_name)::regclass::oid AS oid) k
CROSS JOIN LATERAL (
  SELECT k.oid UNION ALL SELECT s.compress_relid::oid
  FROM _timescaledb_catalog.compression_settings s
  WHERE s.relid = k.oid AND s.compress_relid IS NOT NULL) r
WHERE c.hypertable_schema = 'market'
GROUP BY 1, 2
"""

_HYPERTABLES = (
    "SELECT hypertable_name FROM timescaledb_information.hypertables "
    "WHERE hypertable_schema = 'market'"
)

_EXTENSION = "SELECT 1 AS one FROM pg_extension WHERE extname = 'timescaledb'"


@dataclass(frozen=True, slots=True)
class HotUnit:
    """A table of the hot tier or a UTC day of one.

    unit: the day as YYYY-MM-DD, or WHOLE. relation: the table or partition in schema market; the
    day of a hypertable (chunked) is a stretch of time in it. stamp: changes when a row was updated
    or deleted, when a table was rewritten, truncated, compressed or replaced, and when the counters
    were lost. inserted: PostgreSQL's count of inserts, aborted ones included.
    """

    dataset: str
    relation: str
    unit: str
    stamp: str
    inserted: int
    chunked: bool = False

    @property
    def place(self) -> str:
        """Return what a fault calls it."""
        if self.chunked:
            return f"chunks of market.{self.relation}, day {self.unit}"
        return f"partition market.{self.relation}"

    def in_duckdb(self) -> str:
        """Return it as a relation of DuckDB's."""
        return self._in(hot_relation(self.relation))

    def in_postgres(self) -> str:
        """Return it as a relation of PostgreSQL's."""
        return self._in(f'market."{self.relation}"')

    def _in(self, table: str) -> str:
        if not self.chunked:
            return table
        low, high = (stamp_sql(each) for each in unit_bounds_us(self.unit))
        return f"(SELECT * FROM {table} WHERE event_time >= {low} AND event_time < {high}) AS u"


def hot_units(query: Callable[[str], Rows]) -> list[HotUnit]:
    """Return the units that there are; query runs a statement in PostgreSQL."""
    chunked: set[str] = set()
    units: list[HotUnit] = []
    if list(query(_EXTENSION)):
        chunked = {str(name) for (name,) in query(_HYPERTABLES)}
        units = [
            HotUnit(dataset, dataset, day, stamp, inserted, chunked=True)
            for dataset, day, stamp, inserted in query(_CHUNKED)
            if dataset in chunked
        ]
    native = query(f"{_NATIVE} GROUP BY 1, 2")
    return units + [_native(*row) for row in native if row[0] not in chunked]


def _native(dataset: str, relation: str, stamp: str, inserted: int) -> HotUnit:
    found = _DAY.search(relation)
    unit = "-".join(found.groups()) if found else WHOLE
    return HotUnit(dataset, relation, unit, stamp, inserted)


def hot_relation(table: str) -> str:
    """Return a hot table's name in DuckDB."""
    return f'{HOT_CATALOG}.market."{table}"'


def unit_bounds_us(unit: str) -> tuple[int, int]:
    """Return a unit's event times, low inclusive and high exclusive, in µs."""
    if unit == WHOLE:
        return 0, 1 << 62
    low = int(datetime.combine(date.fromisoformat(unit), datetime.min.time(), UTC).timestamp())
    return low * 1_000_000, low * 1_000_000 + DAY_US


def stamp_sql(time_us: int) -> str:
    """Return a time of whole seconds as a literal of both engines'."""
    moment = datetime.fromtimestamp(time_us // 1_000_000, UTC)
    return f"TIMESTAMPTZ '{moment:%Y-%m-%d %H:%M:%S}+00'"

"""One consistent look at everything: a single PostgreSQL snapshot and the lake it points to.

All reads run in DuckDB inside one transaction, which PostgreSQL sees as REPEATABLE READ; rows
are digested in DuckDB, four times as fast as PostgreSQL can.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import duckdb
from duckdb import DuckDBPyConnection

from lake import ledger
from lake.contracts.contract import TICK_DATASETS, load
from lake.hot.hot_tier import LEDGER
from lake.verify.hot_units import WHOLE, HotUnit, hot_relation, hot_units, unit_bounds_us
from lake.verify.totals import Totals
from lake.views.engine import (
    HOT_EXTENSIONS,
    LAKE_EXTENSIONS,
    attach_hot,
    attach_warehouse,
    file_fault,
    hot_query,
    open_duckdb,
    quote,
)
from lake.views.snapshot import Snapshot, load_snapshot, locations
from lake.views.staged import Staged, beyond, frames_and_files, frames_and_files_sql
from lake.views.union_view import last_seq, parquet_sql
from lake.warehouse import Warehouse

MINUTE_US = 60_000_000

SETTLE_S = 12
"""A session idle for longer has handed its counters over (PostgreSQL does after 10 s)."""

_UNSETTLED = f"SELECT market.unsettled_sessions({SETTLE_S}) AS sessions"

_TABLES = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'market'::regnamespace "
    "AND relkind IN ('r', 'p') AND NOT relispartition"
)


class Reading:
    """An open look; a context manager. Nothing in it changes while it is open."""

    def __init__(self, dsn: str, warehouse: Warehouse | None = None) -> None:
        self.rows_read = 0
        self.warehouse = warehouse
        self._duckdb = open_duckdb([*HOT_EXTENSIONS, *LAKE_EXTENSIONS])
        try:
            attach_warehouse(self._duckdb, warehouse)
            attach_hot(self._duckdb, dsn)
            # A file that can't be read would end the transaction of the connection it is read in.
            self.files = self._duckdb.cursor()
            self.files.execute("SET TimeZone = 'UTC'")
            self._duckdb.execute("BEGIN")
            self.tables = {str(name) for (name,) in self.hot(_TABLES)}
            rows = self.hot("SELECT shard::int AS shard, last_frame FROM market.shards ORDER BY 1")
            self.shards: dict[int, int] = {int(shard): int(frame) for shard, frame in rows}
            self.places = locations(self._duckdb)
            # Sessions before counters: whoever is gone by now has handed its counters over.
            self.settled = self.hot(_UNSETTLED) == [(0,)]
            self.units = hot_units(self.hot)
        except BaseException:
            self._duckdb.close()
            raise

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self._duckdb.close()

    @property
    def duckdb(self) -> duckdb.DuckDBPyConnection:
        """The connection that the transaction runs in."""
        return self._duckdb

    def hot(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query in PostgreSQL, in this look's snapshot."""
        return cast("list[tuple[Any, ...]]", hot_query(self._duckdb, sql))

    def snapshot(self, dataset: str) -> Snapshot | None:
        """Return the lake table as this look's catalog names it; None when there is none."""
        place = self.places.get(dataset)
        return load_snapshot(self.files, dataset, place) if place else None

    def ledger_units(
        self, dataset: str, after: Mapping[int, int], upto: Mapping[int, int], *, daily: bool
    ) -> dict[str, Totals]:
        """Return unit -> the ledger's totals of frames in (after, upto] of each shard of upto.

        The ledger has no ledger: its own rows in hot stand for it.
        """
        if dataset == LEDGER:
            unit = unit_sql(load(dataset).ledger_time, daily=daily)
            found = self._duckdb.execute(
                f"SELECT {unit}, {ledger.sums_sql(dataset, 'duckdb')} FROM {hot_relation(dataset)}"
                f" WHERE {frames_sql(after, upto)} GROUP BY 1"
            ).fetchall()
            return {name: Totals.read(values) for name, *values in found}
        day = "to_char(minute AT TIME ZONE 'UTC', 'YYYY-MM-DD')" if daily else f"'{WHOLE}'"
        rows = self.hot(
            f"SELECT {day} AS unit, {_LEDGER_SUMS} FROM market.ledger_minutes "
            f"WHERE dataset = {quote(dataset)} AND {frames_sql(after, upto)} GROUP BY 1"
        )
        return {unit: Totals.read(values) for unit, *values in rows}

    def ledger_minutes(
        self, dataset: str, unit: str, upto: Mapping[int, int]
    ) -> dict[tuple[str, int], Totals]:
        """Return (ticker, minute in µs) -> the ledger's totals of a unit through upto."""
        if dataset == LEDGER:
            return self.minutes(dataset, hot_relation(dataset), frames_sql({}, upto))
        low, high = unit_bounds_us(unit)
        within = (
            f" AND minute >= to_timestamp({low // 1_000_000}) "
            f"AND minute < to_timestamp({high // 1_000_000})"
            if unit != WHOLE
            else ""
        )
        rows = self.hot(
            f"SELECT ticker, (extract(epoch FROM minute) * 1000000)::bigint AS us, {_LEDGER_SUMS} "
            f"FROM market.ledger_minutes WHERE dataset = {quote(dataset)}{within} "
            f"AND {frames_sql({}, upto)} GROUP BY 1, 2"
        )
        return {(ticker, minute): Totals.read(values) for ticker, minute, *values in rows}

    def staged(self, dataset: str, through: Mapping[int, int]) -> tuple[Staged, ...]:
        """Return the staged files that a lake through these frames lacks."""
        _, files = frames_and_files(self.hot(frames_and_files_sql({dataset: through})))
        return tuple(each for each in files if each.dataset == dataset)

    def totals(
        self,
        dataset: str,
        relation: str,
        where: str = "",
        connection: DuckDBPyConnection | None = None,
    ) -> Totals:
        """Recompute the totals of rows that DuckDB can read, by default in the transaction."""
        condition = f" WHERE {where}" if where else ""
        row = (
            (connection or self._duckdb)
            .execute(f"SELECT {ledger.sums_sql(dataset, 'duckdb')} FROM {relation}{condition}")
            .fetchone()
        )
        found = Totals.read(row or (0, 0, 0, 0))
        self.rows_read += found.rows
        return found

    def minutes(
        self, dataset: str, relation: str, where: str = ""
    ) -> dict[tuple[str, int], Totals]:
        """Recompute (ticker, minute in µs) -> totals of rows that DuckDB can read."""
        totals = ledger.totals_sql(dataset, "duckdb", relation, where)
        rows = self._duckdb.execute(
            f'SELECT ticker, epoch_us("minute"), "rows", sum_a, sum_b, digest FROM ({totals})'
        ).fetchall()
        return {(ticker, minute): Totals.read(values) for ticker, minute, *values in rows}

    def hot_count(self, unit: HotUnit) -> int:
        """Count the rows of a unit in PostgreSQL."""
        return int(self.hot(f"SELECT count(*) FROM {unit.in_postgres()}")[0][0])

    def hot_new(self, unit: HotUnit, after: Mapping[int, int]) -> Totals:
        """Recompute the known shards' rows of a unit beyond the frames in after."""
        after = {shard: after.get(shard, 0) for shard in self.shards}
        # Asked for by ranges of pages, PostgreSQL would pass its index on seq by.
        self._duckdb.execute("SET pg_use_ctid_scan = false")
        try:
            return self.totals(unit.dataset, unit.in_duckdb(), beyond_frames_sql(after))
        finally:
            self._duckdb.execute("SET pg_use_ctid_scan = true")

    def staged_new(
        self, dataset: str, unit: str, through: Mapping[int, int], staged: Sequence[Staged]
    ) -> Totals:
        """Recompute the rows of a unit in staged files that a lake through these frames lacks.

        Raises Damaged, or Unavailable, where a file of them can't be read.
        """
        paths = beyond(dataset, through, staged, unit)
        try:
            totals = [
                self.totals(dataset, parquet_sql(dataset, [p]), "", self.files) for p in paths
            ]
        except duckdb.Error as error:
            raise file_fault(f"staged files of {dataset}", error) from error
        return sum(totals, Totals())

    def dropped(self) -> dict[tuple[str, str], Totals]:
        """Return (dataset, unit) -> rows and digest that are in the ledger and not in hot; sums are
        not kept.

        They left by proof, or a batch of history staged them for the lake.
        """
        books = [each for each in ("dropped_partitions", "staged_files") if each in self.tables]
        if not books:
            return {}
        both = " UNION ALL ".join(
            f"SELECT dataset, day, rows, digest FROM market.{b}" for b in books
        )
        ticks = ", ".join(map(quote, TICK_DATASETS))
        rows = self.hot(
            f"SELECT dataset, CASE WHEN dataset IN ({ticks}) THEN to_char(day, 'YYYY-MM-DD') "
            f"ELSE {quote(WHOLE)} END AS unit, sum(rows)::bigint AS n, "
            f"sum(digest)::numeric(38, 0) AS d FROM ({both}) AS b GROUP BY 1, 2"
        )
        return {
            (dataset, day): Totals(rows=int(count), digest=int(digest))
            for dataset, day, count, digest in rows
        }

    def committed(self, dataset: str) -> dict[int, int]:
        """Return shard -> the last frame that any snapshot of a table was to hold, as was noted
        before each was committed.
        """
        rows = self.hot(
            "SELECT t.key::int AS shard, max(t.value::bigint) AS frame FROM market.lake_marks "
            f"CROSS JOIN LATERAL jsonb_each_text(through) AS t WHERE dataset = {quote(dataset)} "
            "GROUP BY 1"
        )
        return {int(shard): int(frame) for shard, frame in rows}

    def archived(self, dataset: str, left: int) -> dict[str, Totals]:
        """Return unit -> what has left the lake for the archive, through file `left`."""
        if not left:
            return {}
        rows = self.hot(
            f"SELECT to_char(day, 'YYYY-MM-DD') AS unit, {_LEDGER_SUMS} FROM market.archive_files "
            f"WHERE dataset = {quote(dataset)} AND number <= {left} GROUP BY 1"
        )
        return {unit: Totals.read(values) for unit, *values in rows}


_LEDGER_SUMS = (
    "sum(rows)::bigint AS n, sum(sum_a)::numeric(38, 10) AS a, sum(sum_b)::numeric(38, 10) AS b, "
    "sum(digest)::numeric(38, 0) AS d"
)


def frames_sql(after: Mapping[int, int], upto: Mapping[int, int]) -> str:
    """Return the condition of whole batches within (after, upto] of each shard of upto."""
    ranges = [
        f"(shard = {shard} AND first_frame > {after.get(shard, 0)} AND last_frame <= {last})"
        for shard, last in sorted(upto.items())
        if last > after.get(shard, 0)
    ]
    return f"({' OR '.join(ranges)})" if ranges else "false"


def beyond_frames_sql(after: Mapping[int, int]) -> str:
    """Return the condition of rows beyond the frames in after."""
    ranges = [f"(shard = {shard} AND seq > {last_seq(last)})" for shard, last in after.items()]
    return f"({' OR '.join(ranges)})" if ranges else "true"


def unit_sql(time: str, *, daily: bool) -> str:
    """Return DuckDB's expression of the unit that a time column's value falls in."""
    return f"strftime({time} AT TIME ZONE 'UTC', '%Y-%m-%d')" if daily else f"'{WHOLE}'"


def read_list(paths: Iterable[str]) -> str:
    """Return paths as an SQL list."""
    return f"[{', '.join(quote(path) for path in paths)}]"

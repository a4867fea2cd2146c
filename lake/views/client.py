"""A DuckDB connection over one lakehouse, and a look whether its views are still the latest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from duckdb import (
    CatalogException,
    ConnectionException,
    DuckDBPyConnection,
    DuckDBPyRelation,
    InvalidInputException,
    IOException,
)
from duckdb import Error as DuckDBError

from lake.closes import Closes
from lake.database import BY_RANGE, with_options
from lake.errors import TicklakeError, Unavailable, WrongUse
from lake.views.engine import (
    HOT_EXTENSIONS,
    LAKE_EXTENSIONS,
    attach_hot,
    attach_warehouse,
    file_fault,
    first_line,
    hot_query,
    open_duckdb,
    without_passwords,
)
from lake.views.newest import newest_sql
from lake.views.release_view import release_statements
from lake.views.snapshot import (
    Snapshot,
    load_snapshot,
    locations,
    manifests_of,
    require_manifests,
)
from lake.views.staged import frames_and_files, frames_and_files_sql
from lake.views.union_view import end_statements, view_statements
from lake.warehouse import Warehouse, readable

if TYPE_CHECKING:
    from datetime import datetime

    import polars as pl
    import pyarrow as pa

APPLICATION = "ticklake-query"
"""PostgreSQL's application_name of our readers."""

LISTED = "tables are listed by .tables or SHOW ALL TABLES"

_TABLES = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'market'::regnamespace "
    "AND (relkind IN ('r', 'p') AND NOT relispartition"
    " OR relkind = 'v' AND relname LIKE 'crypto_agg_%')"
)


class Client(Closes):
    """A DuckDB connection over one lakehouse; a context manager.

    Views: `crypto_trades` (lake and hot, each row once), `lake.crypto_trades`, `hot.crypto_trades`,
    and so on for every dataset. Times are UTC. Nothing of them can be written through it; files and
    tables of the connection's own can (COPY TO, CREATE TEMP TABLE).
    """

    def __init__(
        self, dsn: str, warehouse: Warehouse | None = None, *, release: str | None = None
    ) -> None:
        """Connect; warehouse: where the lake's files lie, None for a folder of this machine.

        release: show this release, and nothing else; None: what there is now.
        """
        self._release = release
        self._duckdb = open_duckdb([*HOT_EXTENSIONS, *LAKE_EXTENSIONS])
        self._snapshots: dict[str, Snapshot] = {}
        self._manifests: dict[str, tuple[str, ...]] = {}
        self._frames: dict[int, int] = {}
        self._seen: object = None
        try:
            attach_warehouse(self._duckdb, warehouse)
            attach_hot(self._duckdb, with_options(with_application(dsn), **BY_RANGE))
        except BaseException:
            self._duckdb.close()
            raise

    @property
    def duckdb(self) -> DuckDBPyConnection:
        """The connection itself; call `refresh` before a query that must see the latest lake.

        It takes files of a store for what they were when it read or wrote them last, as the lake's
        are; where others write files of yours anew, `SET enable_http_metadata_cache = false`.
        """
        return self._duckdb

    @property
    def release(self) -> str | None:
        """The release that is shown; None for what there is now."""
        return self._release

    @property
    def snapshots(self) -> dict[str, Snapshot]:
        """The lake tables that the views read now, by dataset."""
        return dict(self._snapshots)

    @property
    def frames(self) -> dict[int, int]:
        """Shard -> last frame, inclusive, through which the views show every row, and none of a
        later one. As of the last `refresh`.
        """
        return dict(self._frames)

    def refresh(self) -> bool:
        """Look at the catalog again and rebuild the views if it moved; tell whether it did.

        The union views end with the frame that is last now, `hot.<dataset>` is live without it.
        Raises Damaged where a table's metadata or manifests are gone.
        """
        # Places before shards: a shard that starts in between is then listed with no watermark,
        # and shows all of its hot rows, none of which that older lake can hold.
        places = locations(self._duckdb)
        snapshots = {dataset: self._snapshot(dataset, place) for dataset, place in places.items()}
        through = {dataset: each.through for dataset, each in snapshots.items()}
        frames, staged = frames_and_files(hot_query(self._duckdb, frames_and_files_sql(through)))
        tables = [str(name) for (name,) in hot_query(self._duckdb, _TABLES)]
        for statement in end_statements(frames) if frames != self._frames else ():
            self._duckdb.execute(statement)
        seen = (places, list(frames), staged, sorted(tables))
        if seen == self._seen:
            self._require_manifests()
            self._frames = frames
            return False
        self._snapshots = snapshots
        self._require_manifests()
        statements = (
            view_statements(self._snapshots, tables, frames, staged)
            if self._release is None
            else release_statements(self._duckdb, self._release, self._snapshots)
        )
        try:
            for statement in list(statements):
                self._duckdb.execute(statement)
        except (IOException, InvalidInputException) as error:
            # Staged files are looked into as their view is made.
            raise file_fault("staged files", error) from error
        self._seen, self._frames = seen, frames
        return True

    def sql(self, query: str) -> DuckDBPyRelation | None:
        """Return a query as a DuckDB relation, lazily; None for a statement without rows.

        Raises WrongUse for SQL that can't run.
        """
        self.refresh()
        try:
            return self._duckdb.sql(query)
        except DuckDBError as error:
            raise query_error(error) from error

    def statements(self, text: str) -> list[str]:
        """Return the statements of a text; none of one that is only blanks and comments.

        Raises WrongUse for what is no SQL.
        """
        try:
            return [found.query for found in self._duckdb.extract_statements(text)]
        except DuckDBError as error:
            raise query_error(error) from error

    def arrow(self, query: str) -> pa.Table:
        """Return a query's rows as an Arrow table."""
        return self._rows(query).to_arrow_table()

    def newest(
        self, dataset: str, count: int, before: datetime | None = None, **where: str
    ) -> pa.Table:
        """Return the newest rows of a dataset before a time (default: all), newest first, as Arrow.

        where: column=text, for instance ticker="X:BTCUSD". Quicker than ORDER BY ... LIMIT by far
        where there are many more: see lake.views.newest.
        """
        return self.arrow(newest_sql(self._asked, dataset, count, where, before))

    def polars(self, query: str) -> pl.DataFrame:
        """Return a query's rows as a Polars frame."""
        frame: pl.DataFrame = self._rows(query).pl()
        return frame

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        self._duckdb.close()

    def _asked(self, query: str) -> list[tuple[object, ...]]:
        return self._rows(query).fetchall()

    def _rows(self, query: str) -> DuckDBPyConnection:
        self.refresh()
        try:
            return self._duckdb.execute(query)
        except DuckDBError as error:
            raise query_error(error) from error

    def _snapshot(self, dataset: str, place: str) -> Snapshot:
        known = self._snapshots.get(dataset)
        if known and known.metadata_location == place:
            return known
        found = load_snapshot(self._duckdb, dataset, place)
        listed = readable(found.manifest_list or "")
        # Of a bucket nothing is asked, so its list is not fetched either.
        asked = listed and "://" not in listed
        self._manifests[dataset] = (listed, *manifests_of(self._duckdb, found)) if asked else ()
        return found

    def _require_manifests(self) -> None:
        for dataset in self._snapshots:
            require_manifests(dataset, self._manifests[dataset])


def query_error(error: DuckDBError) -> TicklakeError:
    """Return a query's failure as ours: the caller's words, or what is not there."""
    if isinstance(error, IOException) and "No such file" in str(error):
        return file_fault("query", error)
    if isinstance(error, (IOException, ConnectionException)):
        return Unavailable("query", first_line(error), "is everything up? see: ticklake status")
    said, _, place = without_passwords(str(error).strip()).partition("\n\nLINE ")
    line = f" (line {place.partition(':')[0]})" if place else ""
    remedy = LISTED if isinstance(error, CatalogException) else "correct it there"
    if "permission denied" in said:
        remedy = "ask as a role that may (see: ticklake roles)"
    return WrongUse("query", " ".join(said.split()) + line, remedy)


def with_application(dsn: str, name: str = APPLICATION) -> str:
    """Return a libpq URI or key-value string that also names the application."""
    if "application_name" in dsn:
        return dsn
    if "://" not in dsn:
        return f"{dsn} application_name={name}"
    return f"{dsn}{'&' if '?' in dsn else '?'}application_name={name}"

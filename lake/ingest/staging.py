"""History in bulk: rows older than the hot tier's window become files of the lake at once.

In the hot tables they would stay only until the lake held them. So the writer stages a batch of
history: it writes the old rows as data files of their table, which nobody knows of, and the batch's
transaction enters them in the book of staged files beside its ledger. From then on readers see
them; the committer appends them with `through`, as it does rows of hot. A file whose batch was not
committed is an orphan, for upkeep to find.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from lake.clock import Clock, utc_from_us
from lake.contracts.contract import TICK_DATASETS, load
from lake.errors import Unavailable
from lake.feeds.history import FEED
from lake.hot.edition import ask, leave_age_days
from lake.hot.staged_files import BOOK
from lake.ingest.batch import Built
from lake.journal.reader import JournalReader, Run
from lake.steps import Steps
from lake.tables.catalog import ensure_table, open_catalog
from lake.tables.commit import faults_of
from lake.tables.data_file import DAY_US, sorted_rows, time_column_of, write_data_files
from lake.warehouse import Warehouse

ROWS_MIN = 10_000
"""Old rows of one dataset in a batch from which on they are staged; fewer are not worth files."""

ROWS_A_DAY_MIN = 300
"""Old rows for each day among them from which on they are staged: every day is a file, and
thousands of files would take longer than STAGE_S_MAX, at every try."""

BYTES_MIN = 512 << 10
"""Bytes of history next to each other from which on they are a batch of their own."""

BYTES_MAX = 32 << 20
"""Bytes of such a batch: about 260,000 rows, 50 MB of Arrow."""

STAGE_S_MAX = 600
"""Longest time from the first file of a batch to its transaction: orphans are found by age."""

_BOOK_SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("shard", pa.int16()),
        ("first_frame", pa.int64()),
        ("last_frame", pa.int64()),
        ("day", pa.date32()),
        ("path", pa.string()),
        ("rows", pa.int64()),
        ("digest", pa.decimal128(38, 0)),
    ]
)


def next_runs(
    reader: JournalReader, first_frame: int, *, frames_max: int, bytes_max: int
) -> list[Run]:
    """Return the runs of the next batch, as read() does; much history is a batch of its own."""
    runs = reader.read(first_frame, frames_max=frames_max, bytes_max=bytes_max)
    at = next((i for i, run in enumerate(runs) if _is_history(run, BYTES_MIN)), None)
    if at is None:
        return runs
    if any(not run.control for run in runs[:at]):
        return runs[:at]
    taken = _leading(runs)
    whole = len(taken) == len(runs)
    while whole and (size := sum(len(run.frames.payload) for run in taken)) < BYTES_MAX:
        last = taken[-1].frames.last_frame
        runs = reader.read(last + 1, frames_max=frames_max, bytes_max=BYTES_MAX - size)
        more = _leading(runs)
        whole = bool(more) and len(more) == len(runs)
        taken += more
    return taken


def is_bulk(runs: Sequence[Run]) -> bool:
    """Tell whether a batch is of history and nothing else."""
    return any(_is_history(run, 1) for run in runs) and len(_leading(runs)) == len(runs)


def _leading(runs: Sequence[Run]) -> list[Run]:
    """Return the runs before the first that is neither history nor a record of ours."""
    other = (i for i, run in enumerate(runs) if not run.control and run.feed != FEED)
    return list(runs[: next(other, len(runs))])


def _is_history(run: Run, bytes_min: int) -> bool:
    return not run.control and run.feed == FEED and len(run.frames.payload) >= bytes_min


class Stage:
    """Writes a batch's old rows as files of the lake; one thread uses it at a time.

    dsn and warehouse: of who may write the lake's files.
    """

    def __init__(
        self, dsn: str, warehouse: Warehouse, clock: Clock, *, steps: Steps | None = None
    ) -> None:
        self._place = dsn, warehouse
        self._clock = clock
        self._steps = steps or Steps()
        self._catalog: SqlCatalog | None = None
        self._tables: dict[str, Table] = {}

    def stage(
        self,
        connection: psycopg.Connection,
        shard: int,
        built: Built,
        ledger: Callable[[], pa.Table],
    ) -> dict[str, pa.Table]:
        """Stage what is old; return the tables to copy: what is left, and the book's new rows.

        ledger: returns the batch's rows of `ledger_minutes`. Raises Unavailable, DiskFull.
        """
        start_us = self._clock.monotonic_us()
        left = dict(built.tables)
        found: list[pa.Table] = []
        for dataset in TICK_DATASETS:
            rows = left.get(dataset)
            if rows is None or rows.num_rows < ROWS_MIN:
                continue
            old = self._old(connection, dataset, rows)
            if not _is_worth_files(rows, old) or _is_written_back(connection, rows):
                continue
            left[dataset] = rows.filter(pa.array(~old))
            found.append(self._files(dataset, rows.filter(pa.array(old))))
        if found:
            left[BOOK] = _book(shard, built, pa.concat_tables(found), ledger())
            if self._clock.monotonic_us() - start_us > STAGE_S_MAX * 1_000_000:
                fault = f"took more than {STAGE_S_MAX} s"
                raise Unavailable("staging", fault, "the batch is built anew")
        return left

    def close(self) -> None:
        """Close the catalog."""
        if self._catalog is not None:
            self._catalog.close()
            self._catalog = None
        self._tables.clear()

    def _old(
        self, connection: psycopg.Connection, dataset: str, rows: pa.Table
    ) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Tell which rows are of days whose age in the hot tier has passed (see due_days)."""
        age_days = leave_age_days(dataset, ask(connection))
        if age_days is None:
            return np.zeros(rows.num_rows, np.bool_)
        newest = (utc_from_us(self._clock.now_us()) - timedelta(days=age_days + 1)).date()
        end = datetime.combine(newest, time(), UTC) + timedelta(days=1)
        times = rows["event_time"].cast(pa.int64()).to_numpy()
        return np.asarray(times < int(end.timestamp()) * 1_000_000)

    def _files(self, dataset: str, rows: pa.Table) -> pa.Table:
        """Write rows as files of a table; return dataset, day, path and rows of each."""
        with faults_of(dataset):
            table = self._table(dataset)
            ordered = sorted_rows(rows, list(load(dataset).sort))
            column = time_column_of(table)
            written = write_data_files(table, ordered, time_column=column, compact=True)
            self._steps.at("stage.file")
        return pa.table(
            {
                "dataset": pa.array([dataset] * len(written)),
                "day": pa.array([file.partition[0] for file in written], pa.int32()),
                "path": [file.file_path for file in written],
                "rows": pa.array([file.record_count for file in written], pa.int64()),
            }
        )

    def _table(self, dataset: str) -> Table:
        if self._catalog is None:
            self._catalog = open_catalog(*self._place)
        if dataset not in self._tables:
            self._tables[dataset] = ensure_table(self._catalog, dataset)
        return self._tables[dataset]


def _book(shard: int, built: Built, files: pa.Table, ledger: pa.Table) -> pa.Table:
    """Return the rows of the book; a file's digest is the ledger's of its day in this batch."""
    day = pc.floor(pc.divide(ledger["minute"].cast(pa.int64()), DAY_US)).cast(pa.int32())
    sums = (
        pa.table({"dataset": ledger["dataset"], "day": day, "digest": ledger["digest"]})
        .group_by(["dataset", "day"])
        .aggregate([("digest", "sum")])
        .rename_columns(["dataset", "day", "digest"])
    )
    joined = files.join(sums, ["dataset", "day"], join_type="left outer")
    count = joined.num_rows
    place = {
        "shard": np.full(count, shard, np.int16),
        "first_frame": np.full(count, built.first_frame),
        "last_frame": np.full(count, built.last_frame),
    }
    columns = [
        pa.array(place[field.name]) if field.name in place else joined[field.name]
        for field in _BOOK_SCHEMA
    ]
    return pa.table(
        [column.cast(field.type) for column, field in zip(columns, _BOOK_SCHEMA, strict=True)],
        schema=_BOOK_SCHEMA,
    )


def _is_worth_files(rows: pa.Table, old: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> bool:
    """Tell whether the old rows are many, and many a day."""
    count = int(old.sum())
    if count < ROWS_MIN:
        return False
    days = np.unique(rows["event_time"].cast(pa.int64()).to_numpy()[old] // DAY_US)
    return count >= ROWS_A_DAY_MIN * len(days)


def _is_written_back(connection: psycopg.Connection, rows: pa.Table) -> bool:
    """Tell whether an import is followed that gets such rows from the hot tables."""
    names = {name for (name,) in connection.execute("SELECT name FROM market.imports")}
    if not names:
        return False
    origin = "exchange" if "exchange" in rows.column_names else "source"
    origins = pc.unique(rows[origin]).to_pylist()
    return any(each.partition(":")[0] not in names for each in origins)

"""The stores that queries.py compares: each loads the same bars and answers four questions."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pyarrow as pa
from pyiceberg.table import Table

from lake.contracts.contract import load
from lake.contracts.iceberg_schema import iceberg_schema, partition_spec, sort_order
from lake.hot.arrange import prepare
from lake.hot.edition import ask
from lake.tables.catalog import PROPERTIES, open_catalog
from lake.tables.data_file import write_data_files
from lake.trino_session import Trino
from lake.views.engine import LAKE_EXTENSIONS, attach_warehouse, open_duckdb
from lake.views.snapshot import load_snapshot
from lake.views.union_view import lake_sql
from lake.warehouse import Bucket, Warehouse

DATASET = "crypto_aggregates"
COPY_ROWS = 500_000
COLUMNS = "ticker, event_time, open, high, low, close, volume, vwap"


@dataclass(frozen=True)
class Question:
    """One of the four types: words of SQL with {table}, {ticker}, {start}, {end}; end exclusive."""

    name: str
    sql: str
    length: timedelta


class Store(Protocol):
    """Answers questions; made by loading the bars."""

    name: str

    def forget(self) -> None:
        """Drop connections and what the system keeps of the files in memory."""

    def answer(self, question: Question, ticker: str, start: datetime) -> int:
        """Run a question and fetch its rows; return how many."""

    def bytes(self) -> int:
        """Return the bytes on disk, indexes included."""

    def close(self) -> None:
        """Remove what was loaded."""


def words(question: Question, table: str, ticker: str, start: datetime) -> str:
    """Return a question as SQL; the words are ours, not a caller's."""
    return question.sql.format(
        table=table,
        ticker=ticker,
        start=f"{start:%F %T}+00",
        end=f"{start + question.length:%F %T}+00",
    )


def uncached(paths: Iterator[Path]) -> None:
    """Ask the system to forget the content of files."""
    for path in paths:
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(handle)


def size(folder: Path) -> int:
    """Return the bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class RawDuckDB:
    """One ideal Parquet file, sorted by ticker and time."""

    name = "raw DuckDB on one Parquet file"

    def __init__(self, file: Path) -> None:
        self._file = file
        self._duckdb = open_duckdb([])

    def forget(self) -> None:
        self._duckdb.close()
        uncached(iter([self._file]))
        self._duckdb = open_duckdb([])

    def answer(self, question: Question, ticker: str, start: datetime) -> int:
        statement = words(question, f"read_parquet('{self._file}')", ticker, start)
        return int(self._duckdb.execute(statement).to_arrow_table().num_rows)

    def bytes(self) -> int:
        return self._file.stat().st_size

    def close(self) -> None:
        self._duckdb.close()


class Postgres:
    """A table with a primary key of ticker and time; a hypertable where the server has them."""

    def __init__(self, name: str, dsn: str, bars: Callable[[], Iterator[pa.RecordBatch]]) -> None:
        self.name = name
        self._dsn = dsn
        self._table = f"bench_{uuid.uuid4().hex[:8]}"
        self._connection = psycopg.connect(dsn, autocommit=True)
        edition = ask(self._connection)
        self._execute(
            "CREATE TABLE {} (ticker text NOT NULL, event_time timestamptz NOT NULL, open numeric,"
            " high numeric, low numeric, close numeric, volume numeric, vwap numeric)"
        )
        if edition.name != "plain":
            self._execute(
                "SELECT create_hypertable('{}', by_range('event_time', interval '7 days'))"
            )
        with adbc.connect(dsn) as writer, writer.cursor() as cursor:
            for batch in bars():
                cursor.adbc_ingest(self._table, batch, mode="append")
                writer.commit()
        self._execute("ALTER TABLE {} ADD PRIMARY KEY (ticker, event_time)")
        if edition.compresses:
            self._execute(
                "ALTER TABLE {} SET (timescaledb.compress,"
                " timescaledb.compress_segmentby = 'ticker',"
                " timescaledb.compress_orderby = 'event_time DESC')"
            )
            self._execute("SELECT compress_chunk(c) FROM show_chunks('{}') AS c")
        self._hyper = edition.name != "plain"
        self._execute("VACUUM ANALYZE {}")

    def _execute(self, statement: str) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(statement.replace("{}", self._table).encode())
        return cursor.fetchall() if cursor.description else []

    def _files(self) -> Iterator[Path]:
        tables = "SELECT '{}'::regclass AS oid"
        if self._hyper:
            tables += " UNION ALL SELECT c::oid FROM show_chunks('{}') AS c"
        rows = self._execute(
            "SELECT current_setting('data_directory') || '/' || pg_relation_filepath(f.oid) FROM ("
            f"{tables} UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid IN ({tables}))"
            " AS f WHERE pg_relation_filepath(f.oid) IS NOT NULL"
        )
        for (first,) in rows:
            yield from Path(first).parent.glob(f"{Path(first).name}*")

    def forget(self) -> None:
        uncached(self._files())
        self._connection.close()
        self._connection = psycopg.connect(self._dsn, autocommit=True)

    def answer(self, question: Question, ticker: str, start: datetime) -> int:
        statement = words(question, self._table, ticker, start)
        return len(self._connection.execute(statement.encode()).fetchall())

    def bytes(self) -> int:
        size_of = "hypertable_size" if self._hyper else "pg_total_relation_size"
        return int(self._execute("SELECT " + size_of + "('{}')")[0][0])

    def close(self) -> None:
        self._execute("DROP TABLE {}")
        self._connection.close()


class HotTier:
    """ticklake's hot tier: the minute roll-ups, and the hourly ones where they answer."""

    def __init__(self, dsn: str, fill: Callable[[str], None], hourly: dict[str, str]) -> None:
        self._dsn = dsn
        self._hourly = hourly
        with psycopg.connect(dsn) as connection:
            prepare(connection)
            self.name = f"ticklake hot ({ask(connection).name})"
        fill(dsn)
        self._connection = psycopg.connect(dsn, autocommit=True)

    def forget(self) -> None:
        rows = self._connection.execute(
            "SELECT current_setting('data_directory') || '/' || pg_relation_filepath(c.oid)"
            " FROM pg_class AS c WHERE c.relname LIKE 'roll%' AND c.relkind IN ('r', 'i')"
        ).fetchall()
        uncached(path for (p,) in rows for path in Path(p).parent.glob(f"{Path(p).name}*"))
        self._connection.close()
        self._connection = psycopg.connect(self._dsn, autocommit=True)

    def answer(self, question: Question, ticker: str, start: datetime) -> int:
        sql = self._hourly.get(question.name, question.sql.replace("event_time", "bucket"))
        own = Question(question.name, sql, question.length)
        statement = words(own, "market.crypto_agg_1m", ticker, start)
        return len(self._connection.execute(statement.encode()).fetchall())

    def bytes(self) -> int:
        row = self._connection.execute(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
            " WHERE relname IN ('roll_1m', 'roll_5m', 'roll_1h', 'roll_1d')"
        ).fetchone()
        assert row is not None
        return int(row[0] or 0)

    def close(self) -> None:
        self._connection.close()


class Lake:
    """ticklake's lake through DuckDB, as the union view reads it, in a namespace of its own."""

    name = "ticklake lake, DuckDB"

    def __init__(
        self, dsn: str, place: Warehouse, days: Iterator[pa.Table], objects: Path | None = None
    ) -> None:
        """objects: where a store of this machine keeps its objects, for what is asked cold."""
        contract = load(DATASET)
        self._dsn = dsn
        self._place = place
        self._objects = objects
        if isinstance(place, Bucket):  # where the key that Trino reads with may look
            place = replace(place, location=f"{place.location}/market/bench")
        self.catalog = open_catalog(dsn, place)
        self.namespace = f"bench_{uuid.uuid4().hex[:8]}"
        self.catalog.create_namespace(self.namespace)
        self.table: Table = self.catalog.create_table(
            (self.namespace, DATASET),
            iceberg_schema(contract),
            partition_spec=partition_spec(contract),
            sort_order=sort_order(contract),
            properties=PROPERTIES,
        )
        files = [
            file
            for rows in days
            for file in write_data_files(self.table, rows, time_column="event_time", compact=True)
        ]
        with self.table.transaction() as change, change.update_snapshot().fast_append() as new:
            for file in files:
                new.append_data_file(file)
        self._bytes = sum(file.file_size_in_bytes for file in files)
        self._paths = [Path(file.file_path.removeprefix("file://")) for file in files]
        self._open()

    def _open(self) -> None:
        self._postgres = psycopg.connect(self._dsn, autocommit=True)
        self._duckdb = open_duckdb(LAKE_EXTENSIONS)
        attach_warehouse(self._duckdb, self._place)
        self._seen = ""

    def forget(self) -> None:
        self._duckdb.close()
        self._postgres.close()
        uncached(self._objects.rglob("*") if self._objects else iter(self._paths))
        self._open()

    def answer(self, question: Question, ticker: str, start: datetime) -> int:
        row = self._postgres.execute(
            "SELECT metadata_location FROM public.iceberg_tables WHERE table_namespace = %s",
            (self.namespace,),
        ).fetchone()
        assert row is not None
        if row[0] != self._seen:
            snapshot = load_snapshot(self._duckdb, DATASET, row[0])
            self._duckdb.execute(f"CREATE OR REPLACE VIEW bars AS {lake_sql(DATASET, snapshot)}")
            self._seen = row[0]
        statement = words(question, "bars", ticker, start)
        return int(self._duckdb.execute(statement).to_arrow_table().num_rows)

    def bytes(self) -> int:
        return self._bytes

    def close(self) -> None:
        self._duckdb.close()
        self._postgres.close()
        self.catalog.purge_table((self.namespace, DATASET))
        self.catalog.drop_namespace(self.namespace)
        self.catalog.engine.dispose()


class LakeByTrino:
    """The same Iceberg table through Trino; its files' cache is its own affair."""

    name = "ticklake lake, Trino"

    def __init__(self, lake: Lake, trino: dict[str, str]) -> None:
        self._lake = lake
        self._given = trino
        self._trino = Trino(**trino, catalog="lake", schema=lake.namespace)

    def forget(self) -> None:
        self._trino.close()
        self._trino = Trino(**self._given, catalog="lake", schema=self._lake.namespace)

    def _words(self, question: Question, ticker: str, start: datetime) -> str:
        statement = words(question, DATASET, ticker, start)
        return statement.replace("TIMESTAMPTZ '", "TIMESTAMP '").replace("+00'", " UTC'")

    def answer(self, question: Question, ticker: str, start: datetime) -> int:
        return len(self._trino.execute(self._words(question, ticker, start)))

    def plan(self, question: Question, ticker: str, start: datetime) -> None:
        """Have a question planned and not run: the floor under its time."""
        self._trino.execute(f"EXPLAIN {self._words(question, ticker, start)}")

    def bytes(self) -> int:
        return self._lake.bytes()

    def close(self) -> None:
        self._trino.close()

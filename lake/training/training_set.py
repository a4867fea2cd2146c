"""Make a training set: every row of a table of probes, with the values that stood at its time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lake.clock import utc_from_us
from lake.errors import BadInput, Damaged, WrongUse
from lake.training.feature_table import IDENTITY, RECORDED_TIME, FeatureTable
from lake.training.join import (
    OWN,
    PROBE,
    PROBES,
    Piece,
    conditions_of,
    fixed_sql,
    held_sql,
    joined_sql,
    known,
    name,
    piece_sql,
    time_us,
)
from lake.training.known import latest_when_seen
from lake.training.pieces import Span, pieces
from lake.views.client import Client, query_error
from lake.views.engine import quote

Lacking = Literal["refuse", "null"]

MEMORY_BYTES_MAX = 2 * 2**30
"""What DuckDB may hold while it joins; beyond it goes to disk."""

PIECE_PART = 6
"""A piece may be this part of the memory: it is held, sorted, joined and put in order."""

BATCH_ROWS = 122_880
"""Rows of a batch on its way to the file."""

NOTHING = Piece(("",), 0, 0)
"""A piece without rows: it makes a file with columns alone."""

SPAN_WORDS = "%Y-%m-%d %H:%M"


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A file of rows; release: of which its values are, None: of what there was."""

    path: Path
    release: str | None
    rows: int
    pieces: int


def training_set(
    client: Client,
    probes: pa.Table | Path,
    tables: Sequence[FeatureTable],
    out: Path,
    *,
    time: str = "event_time",
    lacking: Lacking = "refuse",
    times: bool = False,
    memory_bytes_max: int = MEMORY_BYTES_MAX,
    piece_bytes_max: int | None = None,
) -> TrainingSet:
    """Write the probes with their values to a Parquet file; every probe is a row, once.

    client: opened with a release, its values are of that release and the file is the same
    whenever it is made; without, of what there is now.
    probes: a table or a Parquet file with the keys of every feature table and a column of times
    (UTC where it has no zone); its other columns, labels for instance, come along.
    out: written beside it first and then put in its place; its columns are those of the probes,
    `probe` (the row's number in them, from 0) and those of the tables, null where no value
    stands; its rows are ordered by the first key, time and number.
    A value stands at a row's time t if event_time <= t, available_time <= t (both inclusive) and
    event_time >= t - ttl (inclusive); of those the latest event_time, of its versions the latest
    available_time, and of those, where the table has a recorded_time, the one recorded last: a
    correction that is known from the same time on. A null in that value stays null: no older one
    takes its place.
    time: the probes' column of times;
    lacking: `refuse` raises where the tables do not reach as far as the probes do, `null` goes on;
    times: also event_time and available_time of each table's value, as evidence;
    memory_bytes_max: what DuckDB may hold; the rows are joined in pieces that fit;
    piece_bytes_max: what a piece may take by our reckoning; None: a sixth of the memory.
    Raises WrongUse for unknown tables and columns, or where one key has several series; BadInput
    for probes without key or time, or a span that the release has not.
    """
    if not tables:
        raise WrongUse("training set", "no feature table", "name one at least")
    piece_bytes = piece_bytes_max or memory_bytes_max // PIECE_PART
    partial = out.with_name(f".{out.name}.part")
    try:
        client.refresh()
        with (
            closing(client.duckdb.cursor()) as cursor,
            _bounded(client.duckdb, memory_bytes_max),
        ):
            join = _Join(client.release, cursor, tables, time)
            join.take(probes)
            spans, held = join.plan(lacking)
            planned = list(pieces(spans, held, tables, piece_bytes)) or [NOTHING]
            rows = join.write(planned, partial, times)
        asked = sum(span.rows for span in spans.values())
        if rows != asked:
            fault = f"{rows:,} rows of {asked:,}: values agree in key and all times"
            raise Damaged("training set", fault, "see: ticklake quality show")
        partial.replace(out)
    except duckdb.Error as error:
        raise query_error(error) from error
    finally:
        partial.unlink(missing_ok=True)
    return TrainingSet(out, client.release, rows, len(planned))


class _Join:
    """One training set in the making, on a cursor of its own."""

    def __init__(
        self,
        release: str | None,
        cursor: duckdb.DuckDBPyConnection,
        tables: Sequence[FeatureTable],
        time: str,
    ) -> None:
        self._release = release
        self._cursor = cursor
        self._tables = tables
        self._time = time
        self._columns: list[str] = []
        self._recorded: list[bool] = []

    def take(self, probes: pa.Table | Path) -> None:
        """Name the probes as PROBES; raises for what they or the tables lack."""
        if isinstance(probes, Path):
            source = f"read_parquet({quote(str(probes))}, file_row_number = true)"
            self._cursor.execute(
                f"CREATE OR REPLACE TEMP VIEW {PROBES} AS"
                f" SELECT * RENAME (file_row_number AS {PROBE}) FROM {source}"
            )
        else:
            numbers = pa.array(np.arange(probes.num_rows, dtype=np.int64))
            self._cursor.register(PROBES, probes.append_column(PROBE, numbers))
        columns = self._names(PROBES)
        asked = {self._time, *(key for table in self._tables for key in table.keys)}
        _known("probes", asked, columns)
        for table in self._tables:
            names = self._names(table.dataset)
            _known(table.dataset, table.read, names)
            self._recorded.append(RECORDED_TIME in names)
        made = [*columns, *OWN, *(each for table in self._tables for each in table.names)]
        twice = sorted({each for each in made if made.count(each) > 1})
        if twice:
            raise WrongUse("training set", f"column {twice[0]} twice", "give a table a prefix")
        self._columns = [each for each in columns if each != PROBE]
        self._refuse_nulls(sorted(asked))

    def plan(self, lacking: Lacking) -> tuple[dict[str, Span], list[dict[str, int]]]:
        """Return the probes by first key, and how many values of each table they can have."""
        first = {table.keys[0] for table in self._tables}
        if len(first) > 1:
            fault = f"tables differ in their first key: {', '.join(sorted(first))}"
            raise WrongUse("training set", fault, "name the same key first")
        at = time_us(self._time)
        rows = self._cursor.execute(
            f"SELECT {name(first.pop())}, count(*), min({at}), max({at}) FROM {PROBES} GROUP BY 1"
        ).fetchall()
        spans = {str(key): Span(*rest) for key, *rest in rows}
        return spans, [self._held(table, spans, lacking) for table in self._tables]

    def write(self, planned: Sequence[Piece], out: Path, times: bool) -> int:
        """Join piece by piece into a file; return its rows."""
        rows = 0
        writer: pq.ParquetWriter | None = None
        try:
            for piece in planned:
                self._cursor.execute(piece_sql(piece, self._tables[0].keys[0], self._time))
                for number, table in enumerate(self._tables):
                    query = held_sql(piece, table, recorded=self._recorded[number])
                    held = self._cursor.execute(query).to_arrow_table()
                    self._cursor.register(known(number), latest_when_seen(held, table.keys))
                joined = joined_sql(piece, self._tables, self._columns, self._recorded, times=times)
                reader = self._cursor.execute(joined).to_arrow_reader(BATCH_ROWS)
                writer = writer or _writer(out, reader.schema)
                for batch in reader:
                    writer.write_batch(batch)
                    rows += batch.num_rows
        finally:
            if writer is not None:
                writer.close()
        return rows

    def _held(
        self, table: FeatureTable, spans: Mapping[str, Span], lacking: Lacking
    ) -> dict[str, int]:
        """Count the values that probes of each first key can have; look at what the table spans."""
        if not spans:
            return {}
        from_us = min(span.first_us for span in spans.values())
        last_us = max(span.last_us for span in spans.values())
        keys = ", ".join(map(name, table.keys))
        loose = [
            each
            for each in IDENTITY
            if each in self._names(table.dataset) and each not in (*table.keys, *table.fixed)
        ]
        several = [f"min({name(c)}) IS DISTINCT FROM max({name(c)})" for c in loose]
        within = " AND ".join(conditions_of(table, from_us, last_us + 1))
        fixed = " AND ".join(fixed_sql(table)) or "true"
        at = time_us(table.event_time)
        rows = self._cursor.execute(
            f"SELECT {keys}, count(*) FILTER ({within}), min({at}), max({at}),"
            f" {' OR '.join(several) or 'false'} FROM {table.dataset} WHERE {fixed} GROUP BY ALL"
        ).fetchall()
        held: dict[str, int] = {}
        for row in rows:
            held[row[0]] = held.get(row[0], 0) + row[-4]
            if row[-1] and row[0] in spans:
                raise WrongUse(
                    table.dataset,
                    f"{row[0]} has several series: they differ in {' or '.join(loose)}",
                    "join by these columns too, or fix them",
                )
        if lacking == "refuse":
            spanned = (min(r[-3] for r in rows), max(r[-2] for r in rows)) if rows else None
            self._refuse_short(table, spanned, (from_us, last_us))
        return held

    def _refuse_short(
        self, table: FeatureTable, held: tuple[int, int] | None, asked: tuple[int, int]
    ) -> None:
        """Raise where a table begins after the first probe, or ends a ttl before the last one."""
        if held and held[0] <= asked[0] and held[1] >= asked[1] - table.ttl_us:
            return
        place = f"release {self._release}" if self._release else "the lake"
        has = f"has {table.dataset} from {_span(held)}" if held else f"has no {table.dataset}"
        raise BadInput(
            place,
            f"{has}, the rows are from {_span(asked)}",
            "choose other rows or a release that has them, or let them be null",
        )

    def _refuse_nulls(self, asked: Sequence[str]) -> None:
        missing = " OR ".join(f"{name(each)} IS NULL" for each in asked)
        row = self._cursor.execute(f"SELECT count(*) FROM {PROBES} WHERE {missing}").fetchone()
        if row and row[0]:
            fault = f"{row[0]:,} rows lack one of {', '.join(asked)}"
            raise BadInput("probes", fault, "fill it in, or leave them out")

    def _names(self, view: str) -> list[str]:
        return [str(row[0]) for row in self._cursor.execute(f"DESCRIBE {view}").fetchall()]


@contextmanager
def _bounded(connection: duckdb.DuckDBPyConnection, memory_bytes: int) -> Iterator[None]:
    """Bound an engine's memory meanwhile, and let it spill where the system keeps such files."""
    row = connection.execute("SELECT current_setting('memory_limit')").fetchone()
    assert row is not None
    spill = Path(tempfile.gettempdir()) / f"ticklake-join-{os.getpid()}"
    with suppress(duckdb.Error):  # it has spilled before, and keeps its place
        connection.execute(f"SET temp_directory = {quote(str(spill))}")
    connection.execute(f"SET memory_limit = '{memory_bytes}B'")
    try:
        yield
    finally:
        connection.execute(f"SET memory_limit = {quote(str(row[0]))}")


def _writer(out: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a file; a dictionary of numbers that hardly repeat would be made in vain."""
    words = [field.name for field in schema if not pa.types.is_floating(field.type)]
    return pq.ParquetWriter(out, schema, compression="zstd", use_dictionary=words)


def _known(thing: str, wanted: Iterable[str], there: Sequence[str]) -> None:
    unknown = sorted(set(wanted) - set(there))
    if unknown:
        raise WrongUse(thing, f"no column {', '.join(unknown)}", f"it has {', '.join(there)}")


def _span(span: tuple[int, int]) -> str:
    return " to ".join(f"{utc_from_us(us):{SPAN_WORDS}}" for us in span) + " UTC"

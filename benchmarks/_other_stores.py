"""Stores that are no part of ticklake's stack, for queries.py: they come with the extra `bench`."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from _stores import COLUMNS, Question, size, uncached, words


class ChDB:
    """ClickHouse in the process, a MergeTree by ticker and time; the extra `bench`."""

    name = "chDB (MergeTree)"

    def __init__(self, file: Path, folder: Path) -> None:
        self._session = importlib.import_module("chdb.session").Session
        self._folder = folder
        self._open = self._session(str(folder))
        self._open.query(
            "CREATE TABLE bars ENGINE = MergeTree ORDER BY (ticker, event_time) AS SELECT"
            f" {COLUMNS.replace('ticker', 'assumeNotNull(ticker) AS ticker', 1)}"
            f" FROM file('{file}', Parquet) SETTINGS schema_inference_make_columns_nullable = 0"
        )

    def forget(self) -> None:
        uncached(self._folder.rglob("*"))
        self._open.query("SYSTEM DROP MARK CACHE")
        self._open.query("SYSTEM DROP UNCOMPRESSED CACHE")

    def answer(self, question: Question, ticker: str, start: datetime) -> int:
        statement = words(question, "bars", ticker, start).replace(
            "TIMESTAMPTZ '", "toDateTime64('"
        )
        statement = statement.replace("+00'", "', 6, 'UTC')").replace(
            "date_trunc('hour', event_time)", "toStartOfHour(event_time)"
        )
        # an alias with a column's name means the column, as in standard SQL
        statement += " SETTINGS prefer_column_name_to_alias = 1"
        found = self._open.query(statement, "Arrow")
        return int(pa.ipc.open_file(pa.py_buffer(found.bytes())).read_all().num_rows)

    def bytes(self) -> int:
        return size(self._folder)

    def close(self) -> None:
        self._open.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class ArcticDB:
    """One symbol a ticker in LMDB, doubles; the extra `bench`."""

    name = "ArcticDB (LMDB)"

    def __init__(self, frames: Iterator[tuple[str, Any]], folder: Path) -> None:
        self._module = importlib.import_module("arcticdb")
        self._folder = folder
        self._arctic = self._module.Arctic(f"lmdb://{folder}?map_size=40GB")
        self._bars = self._arctic.create_library("bars")
        self._symbols = []
        for symbol, frame in frames:
            self._bars.write(symbol, frame)
            self._symbols.append(symbol)

    def forget(self) -> None:
        uncached(self._folder.rglob("*"))

    def answer(self, question: Question, ticker: str, start: datetime) -> int:
        last = start + question.length - timedelta(microseconds=1)
        period = (start.replace(tzinfo=None), last.replace(tzinfo=None))
        if question.name == "multi-series aggregation":
            asked = [
                self._module.ReadRequest(each, columns=["high", "low", "volume"], date_range=period)
                for each in self._symbols
            ]
            found = [each.data for each in self._bars.read_batch(asked)]
            sums = [(f.high.max(), f.low.min(), f.volume.sum()) for f in found]
            return len(sums)
        if question.name == "one-month downsampling":
            query = (
                self._module.QueryBuilder()
                .resample("h")
                .agg(
                    {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
                )
            )
            return len(self._bars.read(ticker, date_range=period, query_builder=query).data)
        return len(self._bars.read(ticker, date_range=period).data)

    def bytes(self) -> int:
        return sum(
            path.stat().st_blocks * 512 for path in self._folder.rglob("*") if path.is_file()
        )

    def close(self) -> None:
        del self._bars, self._arctic
        shutil.rmtree(self._folder, ignore_errors=True)

"""Funding rates of a file go into funding_rates and on to the lake, all or none, each once.

The contract's rules are asked before anything is written. It needs no Prefect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq

from flows.numbered_to_lake import take_in_turn
from lake.bars.audit import audit
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import NUMBERED_DATASETS, load
from lake.errors import BadInput, Damaged, WrongUse
from lake.hot.numbered import append
from lake.hot.turn import turn
from lake.warehouse import Warehouse

DATASET = "funding_rates"
NAMES = {"date": "event_time", "fundingtime": "event_time", "calc_time": "event_time",
         "open": "rate", "fundingrate": "rate", "last_funding_rate": "rate"}  # fmt: skip
"""Columns of others' files, in small letters: freqtrade's (the rate is its `open`), Binance's."""

INSTRUMENT = ("ticker", "exchange", "market")


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a file: rows that were new, and those that were held already."""

    rows: int
    held: int

    def line(self) -> str:
        """Return it in words."""
        return f"{self.rows:,} funding rates stored, {self.held:,} were held already"


def store(dsn: str, warehouse: Warehouse, path: Path, given: Mapping[str, str]) -> Stored:
    """Add a file's rates to hot tier and lake; the same call again adds nothing.

    given: ticker, exchange and market where the file has no such column. Raises BadInput for a
    file that is none, WrongUse for what must be named besides, Damaged, with rule and rows, where
    a rule of the contract does not hold, or a rate is held otherwise.
    """
    rows = read(path, given)
    numbers = pa.array(range(1, rows.num_rows + 1), pa.int64())
    audit(DATASET, rows.append_column(NUMBERED_DATASETS[DATASET], numbers))
    with turn(dsn, DATASET) as lease, psycopg.connect(dsn, autocommit=True) as connection:
        new = _new(connection, rows)
        if new.num_rows:
            append(connection, DATASET, new)
        take_in_turn(dsn, warehouse, DATASET, lease)
    return Stored(new.num_rows, rows.num_rows - new.num_rows)


def read(path: Path, given: Mapping[str, str]) -> pa.Table:
    """Return a file's rows, typed as the contract, by time."""
    schema = arrow_schema(load(DATASET))
    wanted = schema.remove(schema.get_field_index(NUMBERED_DATASETS[DATASET]))
    try:
        rows = _open(path)
        rows = rows.rename_columns([NAMES.get(n.lower(), n) for n in rows.column_names])
        lacking = [n for n in INSTRUMENT if n not in rows.column_names and n not in given]
        if lacking:
            fault = f"is in no column of it: {', '.join(rows.column_names)}"
            raise WrongUse(
                f"{path}: {', '.join(lacking)}", fault, "give --ticker, --venue, --market"
            )
        for name, value in {**given, "source": path.name}.items():
            if name not in rows.column_names:
                rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
        rows = rows.select(wanted.names)
        place = wanted.get_field_index("rate")
        rows = rows.set_column(place, "rate", _rates(rows["rate"]))
        place = wanted.get_field_index("event_time")
        rows = rows.set_column(place, "event_time", _times(rows["event_time"]))
        return rows.cast(wanted).sort_by("event_time")
    except (OSError, KeyError, pa.ArrowException) as error:
        fault = (str(error).strip().splitlines() or [type(error).__name__])[0]
        remedy = "Parquet, CSV or Feather with event_time and rate"
        raise BadInput(str(path), fault, remedy) from error


def _open(path: Path) -> pa.Table:
    if path.suffix == ".feather":
        return pa.feather.read_table(path, memory_map=False)
    if path.suffix == ".csv":
        return pa.csv.read_csv(path)
    return pq.read_table(path)


def _rates(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return rates as decimals; a double stands for the shortest decimal that reads as it."""
    kind = pa.decimal128(28, 10)
    if not pa.types.is_floating(column.type):
        return column.cast(kind)
    words = [np.format_float_positional(each, trim="-") for each in column.to_pylist()]
    return pa.chunked_array([pa.array(words, pa.string()).cast(kind)])


def _times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times of a file; whole numbers are milliseconds since the epoch."""
    zoned = pa.timestamp("us", "UTC")
    if pa.types.is_integer(column.type):
        return column.cast(pa.timestamp("ms")).cast(pa.timestamp("us")).cast(zoned)
    return column.cast(zoned)


def _new(connection: psycopg.Connection, rows: pa.Table) -> pa.Table:
    """Return the rows that are not held; Damaged where one is held with another rate."""
    held = {
        tuple(key): rate
        for *key, rate in connection.execute(
            "SELECT ticker, exchange, market, event_time, rate FROM market.funding_rates"
            " WHERE ticker = ANY(%s)",
            (pc.unique(rows["ticker"]).to_pylist(),),
        ).fetchall()
    }
    if not held:
        return rows
    is_new = []
    for row in rows.select([*INSTRUMENT, "event_time", "rate"]).to_pylist():
        *key, rate = row.values()
        known = held.get(tuple(key))
        if known is not None and known != rate:
            raise Damaged(
                f"funding rate of {key[0]} at {key[3]}",
                f"is held as {known:f}, the file says {rate:f}",
                "find out which is right; a held rate is not changed",
            )
        is_new.append(known is None)
    return rows.filter(pa.array(is_new, pa.bool_()))

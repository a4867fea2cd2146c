"""Files of history: Binance's public dumps (zip of CSV), CSV with a header, Parquet.

Read piece by piece, in the file's order, so that years fit in memory. A dump is known by its name
(BTCUSDT-trades-2024-08-08.zip, -aggTrades-, -1m-); its market by the folders it came in
(spot, um, cm) or by what is given.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from lake.errors import BadInput, WrongUse
from lake.feeds.history import UNREADABLE, note_of
from lake.history.columns import BadRow, dataset_of, missing, rows_of

PIECE_ROWS = 65_536
BLOCK_BYTES = 4 << 20
REFUSED_MAX = 100
"""Rows of one piece that can't be read: each costs a reading of its piece. Of a file of another
kind than it seems no row can.
"""

DUMP = re.compile(
    r"(?P<symbol>[A-Z0-9]{2,30}(_[A-Z0-9]{1,12})?)-(?P<kind>trades|aggTrades|1m|1s|\d{1,2}[mhdwMo]+)"
    r"-\d{4}-\d\d(-\d\d)?\.(zip|csv)",
    re.ASCII,
)
FOLDERS = {"spot": "spot", "um": "usdm", "cm": "coinm"}
TRADE_NAMES = ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker", "is_best_match")
AGGREGATED_NAMES = (
    *("agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id"),
    *("transact_time", "is_buyer_maker", "is_best_match"),
)
KLINE_NAMES = (
    *("open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume"),
    *("count", "taker_buy_volume", "taker_buy_quote_volume", "ignore"),
)
MEAN = pa.decimal128(28, 10)
AGGREGATED = "AGGREGATED"
"""conditions of a trade that stands for all of one order's fills at one price."""


@dataclass(frozen=True, slots=True)
class HistoryFile:
    """A file that can be read: what it holds, and what is known besides.

    names: of its columns, where the file has no header. given: constants by column.
    """

    path: Path
    dataset: str
    kind: str
    given: Mapping[str, str]
    names: tuple[str, ...] = ()

    def pieces(self, after: int) -> Iterator[Piece]:
        """Yield the pieces past the first `after` rows.

        Raises BadInput where the file breaks off, or more than REFUSED_MAX rows of a piece can't be
        read, after all before it.
        """
        at = 0
        for batch in _batches(self):
            start, at = at, at + batch.num_rows
            if at <= after:
                continue
            skip = max(0, after - start)
            columns = {name: batch.column(name)[skip:] for name in batch.schema.names}
            rows, notes = _readable(self, columns, start + skip + 1)
            yield Piece(at, rows, notes)


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a file: rows of the file up to and with it; those of it that can be read, and for
    each other a note (lake.feeds.history) that has it quarantined.
    """

    upto: int
    rows: pa.Table
    notes: Sequence[bytes]


def open_file(path: Path, given: Mapping[str, str]) -> HistoryFile:
    """Return what a file is; given: ticker, exchange, market and the like, by column.

    Raises BadInput for what is no such file, WrongUse for what must be named besides.
    """
    if not path.is_file():
        raise BadInput(str(path), "is no file", "name one")
    dump = DUMP.fullmatch(path.name)
    if dump is not None:
        return _dump(path, dump["symbol"], dump["kind"], given)
    names = _names(path)
    dataset = dataset_of(names)
    lacking = missing(dataset, names, given)
    if lacking:
        raise WrongUse(
            f"{path}: {', '.join(lacking)}",
            f"is in no column of it, and {dataset} needs it",
            "give --ticker, --venue, --market; name columns as the contract does",
        )
    return HistoryFile(path, dataset, "table", given)


def _dump(path: Path, symbol: str, kind: str, given: Mapping[str, str]) -> HistoryFile:
    folders = [FOLDERS[part] for part in path.resolve().parts if part in FOLDERS]
    market = given.get("market") or (folders[-1] if folders else "")
    if not market:
        raise WrongUse(
            str(path), "does not say whether it is of spot or of futures", "give --market"
        )
    known = {"ticker": f"X:{symbol}", "exchange": "binance", "market": market}
    if kind == "trades":
        return HistoryFile(path, "crypto_trades", kind, known, TRADE_NAMES)
    if kind == "aggTrades":
        constants = {**known, "conditions": AGGREGATED}
        return HistoryFile(path, "crypto_trades", kind, constants, AGGREGATED_NAMES)
    if kind not in ("1m", "1s"):
        raise BadInput(
            str(path), f"holds bars of {kind}", "take those of 1m: longer ones are made of them"
        )
    return HistoryFile(path, "crypto_aggregates", kind, {**known, "interval": kind}, KLINE_NAMES)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a plain file, or the one file of a zip."""
    if path.suffix != ".zip":
        with path.open("rb") as plain:
            yield plain
        return
    try:
        with zipfile.ZipFile(path) as packed:
            [name] = packed.namelist()
            with packed.open(name) as found:
                yield found
    except ValueError as error:
        raise BadInput(str(path), "does not hold exactly one file", "unpack it") from error
    except (zipfile.BadZipFile, EOFError) as error:
        raise BadInput(
            str(path), f"is damaged ({error})", "what came before is taken in; fetch it again"
        ) from error


def _names(path: Path) -> list[str]:
    try:
        if path.suffix == ".parquet":
            return list(pq.read_schema(path).names)
        with _opened(path) as file:
            head = file.readline(1 << 20).decode("utf-8-sig", errors="replace").strip()
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(str(path), f"can't be read ({error})", "is it whole?") from error
    return [name.strip().strip('"') for name in head.split(",")]


def _batches(file: HistoryFile) -> Iterator[pa.RecordBatch]:
    if file.path.suffix == ".parquet":
        with pq.ParquetFile(file.path) as found:
            yield from found.iter_batches(PIECE_ROWS)
        return
    with _opened(file.path) as stream:
        head = _head(file)
        names = [name for name, _ in zip(file.names, head, strict=False)] or head
        has_header = not file.names or not head[0].isdecimal()
        try:
            reader = pa.csv.open_csv(
                stream,
                read_options=pa.csv.ReadOptions(
                    column_names=names, skip_rows=int(has_header), block_size=BLOCK_BYTES
                ),
                convert_options=pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                ),
            )
            yield from reader
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return
            raise BadInput(str(file.path), str(error), "what came before is taken in") from error


def _head(file: HistoryFile) -> list[str]:
    return _names(file.path)


def _readable(
    file: HistoryFile, columns: Mapping[str, pa.Array], first_row: int
) -> tuple[pa.Table, list[bytes]]:
    """Return the rows that can be read, and a note for each other; first_row: from 1."""
    at = np.arange(len(next(iter(columns.values()))))
    if file.names == KLINE_NAMES:
        at = at[pc.not_equal(columns["count"], "0").to_numpy(zero_copy_only=False)]
    notes: list[bytes] = []
    while True:
        piece = {name: column.take(pa.array(at)) for name, column in columns.items()}
        try:
            return _rows(file, piece), notes
        except BadRow as error:
            place = f"row {first_row + int(at[error.row])}: {error}"
            if len(notes) == REFUSED_MAX:
                raise BadInput(
                    f"{file.path} {place}",
                    f"the last of more than {REFUSED_MAX} rows of one piece that can't be read",
                    "what came before is taken in; is it the kind of file that it seems?",
                ) from error
            said = {name: str(column[error.row]) for name, column in piece.items()}
            notes.append(note_of(UNREADABLE, f"{file.path.name} {place}", row=said))
            at = np.delete(at, error.row)


def _rows(file: HistoryFile, piece: dict[str, Any]) -> pa.Table:
    if file.kind == "aggTrades":
        first, last = piece["first_trade_id"], piece["last_trade_id"]
        piece["trade_id"] = pc.binary_join_element_wise(first, last, "-")
    if file.names == KLINE_NAMES:
        piece["vwap"], piece["average_trade_size"] = _means(piece)
    return rows_of(file.dataset, piece, file.given)


def _means(piece: Mapping[str, pa.Array]) -> tuple[pa.Array, pa.Array]:
    """Return a kline's mean price and mean size: doubles, to ten decimals."""
    names = ("volume", "quote_volume", "count")
    try:
        volume, worth, count = (pc.cast(piece[name], pa.float64()) for name in names)
        means = pc.divide(worth, volume), pc.divide(volume, count)
        return means[0].cast(MEAN), means[1].cast(MEAN)
    except pa.ArrowInvalid:
        nothing = pa.nulls(len(piece["volume"]), MEAN)  # what is wrong is said of the column itself
        return nothing, nothing

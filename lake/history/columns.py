"""Columns of a file, whatever their names and spelling, as the columns of a dataset's rows.

Numbers become exact decimals or are refused, never rounded. Times are RFC 3339, or epoch numbers
whose unit is told by their size. A value that can't be read names its row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import WrongUse
from lake.feeds.history import row_schema
from lake.feeds.instrument import warehouse_ticker

ALIASES: Mapping[str, tuple[str, ...]] = {
    "event_time": (
        "timestamp",
        "time",
        "ts",
        "open_time",
        "trade_time",
        "transact_time",
        "trade_ms",
        "date",
    ),
    "trade_id": ("id", "tid", "tradeid"),
    "size": ("qty", "quantity", "amount"),
    "volume": ("base_volume",),
    "ticker": ("symbol", "pair"),
    "exchange": ("venue",),
    "bid_price": ("bid",),
    "ask_price": ("ask",),
    "bid_size": ("bid_qty",),
    "ask_size": ("ask_qty",),
    "venue_sequence": ("update_id", "sequence", "id"),
    "asset": ("symbol", "ticker"),
}
"""Other names that files give to our columns, the likelier first."""

MAKER = ("is_buyer_maker", "buyer_is_maker")
"""Columns that say the aggressor's side the other way round."""

UNITS: tuple[tuple[float, int, int], ...] = (
    (1e11, 1_000_000, 1),
    (1e14, 1_000, 1),
    (1e17, 1, 1),
    (float("inf"), 1, 1_000),
)
"""Epoch numbers below this are in seconds, milliseconds, microseconds, nanoseconds: times, by."""

MOSTLY = 0.5
"""Share of texts that are numbers from which on all are to be: a file spells times one way."""

TRUE = ("true", "1", "t")
FALSE = ("false", "0", "f")


class BadRow(ValueError):
    """A row that can't be read: its place in the piece, from 0, and what is wrong with it."""

    def __init__(self, row: int, what: str) -> None:
        super().__init__(what)
        self.row = row


def rows_of(dataset: str, piece: Mapping[str, pa.Array], given: Mapping[str, str]) -> pa.Table:
    """Return a piece of a file as rows of a dataset.

    piece: columns by name; given: constants for what the file does not say. Raises BadRow for a
    value that can't be read, WrongUse for a column that neither has.
    """
    length = len(next(iter(piece.values())))
    columns = []
    for field in row_schema(dataset):
        found = _column(field.name, piece)
        if field.name == "side" and found is None:
            found = _side(piece)
        if field.name in given and found is None:
            columns.append(pa.repeat(pa.scalar(given[field.name], field.type), length))
        elif found is None:
            columns.append(pa.nulls(length, field.type))
        else:
            columns.append(_typed(field, found))
    return pa.table(columns, schema=row_schema(dataset))


def missing(dataset: str, names: Sequence[str], given: Mapping[str, str]) -> list[str]:
    """Return the columns that a dataset must have and that neither names nor given do."""
    needed = [
        each
        for each in REQUIRED[dataset]
        if each not in given and not any(name in names for name in (each, *ALIASES.get(each, ())))
    ]
    return needed


REQUIRED: Mapping[str, tuple[str, ...]] = {
    "crypto_trades": ("ticker", "exchange", "market", "trade_id", "event_time", "price", "size"),
    "crypto_quotes": (
        *("ticker", "exchange", "market", "event_time", "event_time_source", "venue_sequence"),
        *("bid_price", "bid_size", "ask_price", "ask_size"),
    ),
    "crypto_aggregates": (
        *("ticker", "exchange", "market", "interval", "event_time"),
        *("open", "high", "low", "close", "volume"),
    ),
    "market_sentiment": ("asset", "source", "event_time", "sentiment_score", "confidence"),
}


def dataset_of(names: Sequence[str]) -> str:
    """Return the dataset that these columns are of; raises WrongUse."""
    for dataset, marks in (
        ("market_sentiment", ("sentiment_score",)),
        ("crypto_aggregates", ("open", "high", "low", "close")),
        ("crypto_trades", ("price",)),
        ("crypto_quotes", ("bid_price", "bid")),
    ):
        if marks[0] in names or marks[-1] in names:
            return dataset
    raise WrongUse(
        f"columns {', '.join(names)[:200]}",
        "are of no dataset that is known",
        "name them as the contract does (see: ticklake contracts)",
    )


def _column(name: str, piece: Mapping[str, pa.Array]) -> pa.Array | None:
    names = (each for each in (name, *ALIASES.get(name, ())) if each in piece)
    found = next(names, None)
    return None if found is None else piece[found]


def _side(piece: Mapping[str, pa.Array]) -> pa.Array | None:
    maker = next((piece[name] for name in MAKER if name in piece), None)
    if maker is None:
        return None
    spelled = pc.utf8_lower(maker.cast(pa.string()))
    bought = pc.is_in(spelled, pa.array(TRUE))
    known = pc.or_(bought, pc.is_in(spelled, pa.array(FALSE)))
    _all_right(known, maker, "buyer is maker")
    return pc.if_else(bought, "sell", "buy")


def _typed(field: pa.Field, column: pa.Array) -> pa.Array:
    if field.name == "event_time":
        return _times(column)
    if field.name == "ticker":
        return _tickers(column)
    as_text = not pa.types.is_integer(field.type)
    if pa.types.is_decimal(field.type):
        as_text = _is_double(column)
    column = _emptied(column.cast(pa.string()) if as_text else column)
    cast = partial(pc.cast, target_type=field.type)
    try:
        return cast(column)
    except pa.ArrowInvalid as error:
        row = _first_fault(column, cast)
        raise BadRow(row, f"{field.name}: {column[row].as_py()!r}: {error}") from error


def _is_double(column: pa.Array) -> bool:
    return bool(pa.types.is_floating(column.type))


def _emptied(column: pa.Array) -> pa.Array:
    """Return a column with nulls for empty texts."""
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        return column
    return pc.if_else(pc.equal(column, ""), None, column)


def _first_fault(column: pa.Array, cast: Callable[[pa.Array], pa.Array]) -> int:
    """Return the place of the first value that can't be cast, by halving."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            cast(column.slice(low, middle - low))
        except pa.ArrowInvalid:
            high = middle
        else:
            low = middle
    return low


def _times(column: pa.Array) -> pa.Array:
    kind = pa.timestamp("us", "UTC")
    if pa.types.is_timestamp(column.type):
        zoned = column if column.type.tz else column.cast(pa.timestamp(column.type.unit, "UTC"))
        return zoned.cast(kind, safe=False)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        numbers = pc.match_substring_regex(column, r"^\d{9,19}$")
        if (pc.mean(numbers).as_py() or 0) < MOSTLY:
            return _moments(column)
        if not pc.all(numbers).as_py():
            row = pc.index(numbers, False).as_py()
            raise BadRow(row, f"event_time: {column[row].as_py()!r} is no UTC time")
        column = column.cast(pa.int64())
    values = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return pa.array(_micros(values)).cast(kind)


def _micros(values: np.ndarray) -> np.ndarray:
    """Return epoch numbers as microseconds; a file may change its unit on the way."""
    low = np.zeros(len(values), np.int64)
    found = np.zeros(len(values), np.int64)
    for bound, times, by in UNITS:
        here = (values >= low) & (values < bound) if bound < 1e18 else values >= low
        found[here] = values[here] * times // by
        low = np.full(len(values), int(min(bound, 2**62)), np.int64)
    return found


def _moments(column: pa.Array) -> pa.Array:
    kind = pa.timestamp("us", "UTC")
    plain = pc.replace_substring_regex(
        column, r"^(\d{4}-\d\d-\d\d)[T ](.*?)(Z|\+00:?00)?$", r"\1T\2"
    )

    def cast(part: pa.Array) -> pa.Array:
        return part.cast(pa.timestamp("ns")).cast(pa.timestamp("us"), safe=False)

    try:
        return cast(plain).cast(kind)
    except pa.ArrowInvalid as error:
        row = _first_fault(plain, cast)
        raise BadRow(row, f"event_time: {column[row].as_py()!r} is no UTC time") from error


def _tickers(column: pa.Array) -> pa.Array:
    encoded = column.cast(pa.string()).dictionary_encode()
    names = [
        name if name.startswith("X:") or "_" in name else warehouse_ticker(name)
        for name in encoded.dictionary.to_pylist()
    ]
    prefixed = [name if name.startswith("X:") else f"X:{name}" for name in names]
    return pa.array(prefixed, pa.string()).take(encoded.indices)


def _all_right(right: pa.Array, column: pa.Array, name: str) -> None:
    if pc.all(right).as_py() is False:
        row = int(np.flatnonzero(~right.to_numpy(zero_copy_only=False))[0])
        raise BadRow(row, f"{name}: {column[row].as_py()!r} is neither true nor false")

"""The newest row of each instrument among those of a round, as whoever shows it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.feeds.plain import Plain
from lake.feeds.scaled import PRECISION, SCALE

UNIT = 10**SCALE
SPELLED_MAX = 50_000
"""Amounts that are remembered with their text: prices and sizes come again and again."""

EXACT = pa.decimal128(PRECISION, SCALE)
INSTRUMENT = ("exchange", "market", "ticker")
PRICES = {"price": "price", "size": "size"}
QUOTES = {each: each for each in ("bid_price", "bid_size", "ask_price", "ask_size")}
ASSET = ("source", "asset")
SENTIMENT = {name: name for name in ("sentiment_score", "confidence")}
TOLD: Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "crypto_trades": (INSTRUMENT, PRICES),
    "crypto_quotes": (INSTRUMENT, QUOTES),
    "market_sentiment": (ASSET, SENTIMENT),
}
"""Datasets of which the newest rows are told, by what names and with what amounts."""

Row = dict[str, Any]


class Newest:
    """The newest rows of what is told, among those that were taken."""

    def __init__(self) -> None:
        self._parts: dict[str, list[list[Row]]] = {name: [] for name in TOLD}

    def take(self, dataset: str, rows: pa.Table | Plain) -> None:
        """Take rows of a dataset; of others than TOLD nothing is kept."""
        if dataset not in TOLD:
            return
        found = newest_plain if isinstance(rows, Plain) else newest
        self._parts[dataset].append(found(rows, *TOLD[dataset]))

    def rows(self, dataset: str) -> list[Row]:
        """Return the newest rows of a dataset of TOLD."""
        return newest_of(self._parts[dataset], TOLD[dataset][0])


def exchanges_of(rows: pa.Table | Plain) -> set[str]:
    """Return the exchanges that rows tell of."""
    if isinstance(rows, Plain):
        return {each for each in rows.texts("exchange") if each is not None}
    return (
        set(pc.unique(rows["exchange"]).to_pylist()) if "exchange" in rows.column_names else set()
    )


def newest(rows: pa.Table | None, names: tuple[str, ...], amounts: Mapping[str, str]) -> list[Row]:
    """Return the newest row by names, by event time, then by the journal.

    Each has the names, t (event time, UTC microseconds), s (its seq) and amounts as text: under
    their keys the columns that are their values.
    """
    if rows is None or not rows.num_rows:
        return []
    joined = pc.binary_join_element_wise(*(rows[name] for name in names), "|")
    codes = joined.combine_chunks().dictionary_encode().indices.to_numpy()
    times = rows["event_time"].cast(pa.int64()).to_numpy()
    order = np.lexsort((rows["seq"].to_numpy(), times, codes))
    last = order[np.append(np.diff(codes[order]) != 0, True)]
    needed = dict.fromkeys((*names, "seq", *amounts.values()))
    found = rows.select(list(needed)).take(pa.array(last))
    columns = {
        **{name: found[name].to_pylist() for name in names},
        "t": times[last].tolist(),
        "s": found["seq"].to_pylist(),
        **{ours: texts(found[theirs]) for ours, theirs in amounts.items()},
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def newest_plain(rows: Plain, names: tuple[str, ...], amounts: Mapping[str, str]) -> list[Row]:
    """Return what newest() does, of rows before they are Arrow's."""
    keys = list(zip(*(rows.texts(name) for name in names), strict=True))
    times, places = rows.numbers("event_time").tolist(), rows.numbers("seq").tolist()
    last: dict[tuple[str | None, ...], int] = {}
    for i, key in enumerate(keys):
        known = last.get(key)
        if known is None or (times[i], places[i]) >= (times[known], places[known]):
            last[key] = i
    at = list(last.values())
    columns = {
        **dict(zip(names, zip(*last, strict=True), strict=True)),
        "t": [times[i] for i in at],
        "s": [places[i] for i in at],
        **{
            ours: [spelled(each) for each in rows.numbers(theirs)[at].tolist()]
            for ours, theirs in amounts.items()
        },
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def newest_of(parts: Sequence[list[Row]], names: tuple[str, ...]) -> list[Row]:
    """Return the newest row by names among those of newest() of several parts."""
    if len(parts) == 1:
        return parts[0]
    found: dict[tuple[Any, ...], Row] = {}
    for row in (row for part in parts for row in part):
        known = found.setdefault(tuple(row[name] for name in names), row)
        if (row["t"], row["s"]) > (known["t"], known["s"]):
            known.update(row)
    return list(found.values())


@lru_cache(SPELLED_MAX)
def spelled(amount: int) -> str:
    """Return an amount of 10^10ths as text() does; none is below zero."""
    return f"{amount // UNIT}.{amount % UNIT:0{SCALE}d}"


def texts(column: pa.ChunkedArray) -> list[Any]:
    """Return amounts as JSON may carry them, as text() does."""
    if column.type == EXACT and not column.null_count:
        array = pa.concat_arrays(column.chunks)
        halves = np.frombuffer(array.buffers()[1], np.int64)
        ours = halves[2 * array.offset : 2 * (array.offset + len(array))]
        low, high = ours[::2], ours[1::2]
        if not high.any() and (low >= 0).all():
            return list(map(spelled, low.tolist()))
    return [text(each) for each in column.to_pylist()]


def text(value: Any) -> Any:
    """Return an amount as JSON may carry it: decimals as text, digit by digit; the rest as is."""
    return f"{value:f}" if isinstance(value, Decimal) else value

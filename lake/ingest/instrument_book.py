"""Keep the book of instruments: a row when one is first traded, and one when its venue tells more.

What a venue has said of steps and multipliers stays until it says otherwise; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg
import pyarrow as pa
from psycopg.rows import dict_row

from lake.clock import utc_from_us
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.feeds.codec import INDEX_BITS
from lake.feeds.instrument import venue_symbol

ROWS_PER_BATCH_MAX = 1 << INDEX_BITS
"""Rows that the last frame of a batch can number; what is left comes with the next batch."""

TOLD = ("tick_size", "lot_size", "multiplier")

Row = Mapping[str, Any]
Key = tuple[str, str, str]

_NOW = """
SELECT DISTINCT ON (venue, market, symbol) * FROM market.instruments
ORDER BY venue, market, symbol, recorded_time DESC, shard DESC, seq DESC
"""


def known_instruments(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """Return every instrument as it is known now, whichever shard wrote it."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_NOW).fetchall()


class InstrumentBook:
    """Collects one batch's changes to `instruments`; known: what is stored already."""

    def __init__(self, shard: int, known: Sequence[Row] = ()) -> None:
        self._shard = shard
        self._known = {_key(row): row for row in known}
        self._named = {_name(row) for row in known}

    def rows(
        self, traded: Iterable[str], told: Sequence[Row], last_frame: int, now_us: int
    ) -> pa.Table:
        """Return what is new in a batch that ends with last_frame.

        traded: `venue|market|ticker` of every instrument with a trade so far; told: descriptions in
        the order in which venues gave them, each with the contract's columns up to TOLD.
        """
        found: dict[Key, Row] = {}
        for row in told:
            if self._is_news(row, found.get(_key(row))):
                found[_key(row)] = row
        described = {_name(row) for row in found.values()}
        for name in sorted({*traded} - self._named - described):
            venue, market, ticker = name.split("|", 2)
            row = {"venue": venue, "market": market, "ticker": ticker}
            row["symbol"] = venue_symbol(venue, ticker)
            found[_key(row)] = row
        new = list(found.items())[:ROWS_PER_BATCH_MAX]
        self._known |= dict(new)
        self._named |= {_name(row) for _, row in new}
        place = {"recorded_time": utc_from_us(now_us), "shard": self._shard}
        rows = [
            {**row, **place, "seq": (last_frame << INDEX_BITS) | k}
            for k, (_, row) in enumerate(new)
        ]
        return pa.Table.from_pylist(rows, schema=arrow_schema(load("instruments")))

    def _is_news(self, row: Row, earlier: Row | None) -> bool:
        """Tell whether a description says other than what is known."""
        known = earlier or self._known.get(_key(row))
        return known is None or any(known.get(name) != row.get(name) for name in TOLD)


def _name(row: Row) -> str:
    return f"{row['venue']}|{row['market']}|{row['ticker']}"


def _key(row: Row) -> Key:
    return row["venue"], row["market"], row["symbol"]

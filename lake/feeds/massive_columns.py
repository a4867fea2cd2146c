"""Decode Massive's frames by the column: the fast path in front of the reference decoder.

All frames become newline-delimited JSON and are parsed in one call into typed columns; comparisons
over whole columns accept what is plainly right. Every other event, were it one odd digit, goes to
the reference decoder (lake.feeds.massive), which alone defines what is wrong with it. Both give the
same rows for the same frames, by test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.feeds.codec import EVENT_BYTES_MAX, Decoded, Frames
from lake.feeds.columns import constant, joined, possible_times, spelled, table
from lake.feeds.events import TRADE_ID_CHARS_MAX, schema
from lake.feeds.massive import PAIR_PATTERN, MassiveCodec
from lake.feeds.ndjson import LINE_BYTES_MAX, stretches, whole_arrays
from lake.feeds.scaled import decimals, scaled

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

SCHEMA = {
    **dict.fromkeys(("ev", "pair", "i", "c"), pl.String),
    **dict.fromkeys(("p", "s", "bp", "bs", "ap", "as"), pl.Float64),
    **dict.fromkeys(("t", "x", "r"), pl.Int64),
}
"""A field of another type makes its stretch of frames unparsable here, and so odd; r is not kept,
but a stretch in which every key is known is quicker to check."""

SHARED = ("pair", "x", "t", "frame", "seq", "received_us")
COLUMNS = {"XT": (*SHARED, "p", "s", "i", "c"), "XQ": (*SHARED, "bp", "bs", "ap", "as")}
"""What is used of an event of each kind."""

TRADE_ID_BELOW = 2**53
"""Ids from here on may have been written as doubles, which do not tell them apart."""

EXCHANGE_MAX = 9_999
CONDITIONS = pa.array(["[]", "[0]", "[1]", "[2]"])
SIDES = pa.array([None, None, "sell", "buy"], pa.string())
MILLISECONDS_MAX = 1 << 50


class MassiveColumns:
    """The codec that the path uses for `massive` and `sim`; same outcome as MassiveCodec."""

    ids_contiguous = False

    def __init__(self, feed: str = "massive") -> None:
        self.feed = feed
        self._reference = MassiveCodec(feed)
        self.version = self._reference.version

    def decode(self, frames: Frames) -> Decoded:
        """Return every event of frames, classed; never raises for what a frame contains."""
        odd = np.ones(len(frames), np.bool_)
        parts: list[Decoded] = []
        whole = whole_arrays(frames, SCHEMA)
        found = [whole] if whole else stretches(frames, *_bodies(frames), SCHEMA)
        for places, placed in found:
            tables, bad = _tables(placed, len(places), self.feed, frames.shard)
            odd[places] = bad
            rows = sum(found.num_rows for found in tables.values())
            parts.append(Decoded(tables, schema("quarantine").empty_table(), {}, rows))
        if odd.any() or not parts:
            parts.append(self._reference.decode(frames, np.flatnonzero(odd).tolist()))
        return joined(parts)


def _bodies(frames: Frames) -> tuple[list[bytes], list[int]]:
    """Return the frames that are plainly arrays of objects, one object a line, and their places."""
    bodies: list[bytes] = []
    places: list[int] = []
    for i, raw in enumerate(frames):
        if raw[:2] == b"[{" and raw[-2:] == b"}]" and len(raw) <= EVENT_BYTES_MAX:
            body = raw[1:-1]
            if b"\n" not in body:
                body = body.replace(b"},{", b"}\n{")
                if len(body) > LINE_BYTES_MAX and _longest(body) > LINE_BYTES_MAX:
                    continue
                bodies.append(body)
                places.append(i)
    return bodies, places


def _longest(body: bytes) -> int:
    return max(map(len, body.split(b"\n")))


def _tables(
    placed: pl.DataFrame, frame_count: int, feed: str, shard: int
) -> tuple[dict[str, pa.Table], Bool]:
    """Return the rows of the frames in which every event is plainly right, and the other frames."""
    bad = np.zeros(frame_count, np.bool_)
    kinds = placed["ev"].to_physical()
    rows = {kind: placed.select(COLUMNS[kind]).filter(kinds == kind) for kind in ROWS}
    known = np.zeros(len(placed), np.bool_)
    for kind in ROWS:
        known |= (kinds == kind).fill_null(False).to_numpy()
    bad[placed["frame"].to_numpy()[~known]] = True
    checked = {kind: ROWS[kind](found, feed, shard) for kind, found in rows.items()}
    for kind, found in rows.items():
        bad[found["frame"].to_numpy()[~checked[kind][1]]] = True
    tables = {}
    for kind, found in rows.items():
        tables[DATASETS[kind]] = checked[kind][0]
        if bad.any():
            kept = pa.array(~bad[found["frame"].to_numpy()])
            tables[DATASETS[kind]] = checked[kind][0].filter(kept)
    return tables, bad


def _trades(rows: pl.DataFrame, feed: str, shard: int) -> tuple[pa.Table, Bool]:
    ticker, exchange, time_us, ok = _shared(rows, feed)
    price, price_exact = scaled(_doubles(rows["p"]))
    size, size_exact = scaled(_doubles(rows["s"]))
    ok &= price_exact & size_exact & (price > 0) & (size > 0)
    number = rows["i"].cast(pl.Int64, strict=False)
    numbered = (number > 0) & (number < TRADE_ID_BELOW)
    short = rows["i"].str.len_bytes() <= TRADE_ID_CHARS_MAX
    ok &= (rows["i"].is_null() | (numbered.fill_null(False) & short)).to_numpy()
    conditions = rows["c"].to_arrow().cast(pa.string())
    found = pc.index_in(conditions, CONDITIONS)
    ok &= pc.or_(pc.is_valid(found), pc.is_null(conditions)).to_numpy(zero_copy_only=False)
    nothing = pa.nulls(len(rows), pa.string())
    return table(
        "crypto_trades",
        rows,
        shard,
        {
            "ticker": ticker,
            "exchange": exchange,
            "market": constant("spot", len(rows)),
            "trade_id": rows["i"].to_arrow().cast(pa.string()),
            "event_time": time_us,
            "price": decimals(price),
            "size": decimals(size),
            "side": SIDES.take(found),
            "conditions": nothing,
        },
    ), ok


def _quotes(rows: pl.DataFrame, feed: str, shard: int) -> tuple[pa.Table, Bool]:
    ticker, exchange, time_us, ok = _shared(rows, feed)
    found = {}
    for column, name in (
        ("bid_price", "bp"),
        ("bid_size", "bs"),
        ("ask_price", "ap"),
        ("ask_size", "as"),
    ):
        value, exact = scaled(_doubles(rows[name]))
        ok &= exact & ((value > 0) if name.endswith("p") else (value >= 0))
        found[column] = decimals(value)
    return table(
        "crypto_quotes",
        rows,
        shard,
        {
            "ticker": ticker,
            "exchange": exchange,
            "market": constant("spot", len(rows)),
            "event_time": time_us,
            "event_time_source": constant("exchange", len(rows)),
            "venue_sequence": pa.nulls(len(rows), pa.int64()),
            **found,
        },
    ), ok


Rows = Callable[[pl.DataFrame, str, int], tuple[pa.Table, Bool]]
ROWS: Mapping[str, Rows] = {"XT": _trades, "XQ": _quotes}
DATASETS = {"XT": "crypto_trades", "XQ": "crypto_quotes"}


def _shared(rows: pl.DataFrame, feed: str) -> tuple[pa.Array, pa.Array, Int64, Bool]:
    """Return ticker, exchange, event time in microseconds, and which rows are right so far."""
    ticker, ok = spelled(
        rows["pair"],
        lambda pair: PAIR_PATTERN.fullmatch(pair) is not None,
        lambda pair: f"X:{pair.replace('-', '')}",
    )
    exchange = rows["x"].fill_null(-1).to_numpy()
    values, places = np.unique(exchange, return_inverse=True)
    venues = pa.array([f"{feed}:{value}" for value in values.tolist()], pa.string())
    milliseconds = rows["t"].fill_null(-1).to_numpy()
    sane = (milliseconds > 0) & (milliseconds < MILLISECONDS_MAX)
    time_us = np.where(sane, milliseconds, 0) * 1000
    ok &= possible_times(time_us, rows["received_us"].to_numpy())
    ok &= (exchange >= 0) & (exchange <= EXCHANGE_MAX)
    return ticker, venues.take(pa.array(places)), time_us, ok


def _doubles(column: pl.Series) -> npt.NDArray[np.float64]:
    return column.fill_null(float("nan")).to_numpy()

"""Decode Massive's frames by the column: the fast path in front of the reference decoder.

All frames become newline-delimited JSON and are parsed in one call into typed columns; comparisons
over whole columns accept what is plainly right. Every other event, were it one odd digit, goes to
the reference decoder (lake.feeds.massive), which alone defines what is wrong with it. Both give the
same rows for the same frames, by test.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.feeds.codec import (
    EVENT_BYTES_MAX,
    EVENT_TIME_US_MIN,
    EVENTS_PER_FRAME_MAX,
    FUTURE_US_MAX,
    INDEX_BITS,
    Decoded,
    Frames,
)
from lake.feeds.events import TRADE_ID_CHARS_MAX, schema
from lake.feeds.massive import PAIR, MassiveCodec
from lake.feeds.scaled import decimals, scaled

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

SCHEMA = {
    **dict.fromkeys(("ev", "pair", "i", "c"), pl.String),
    **dict.fromkeys(("p", "s", "bp", "bs", "ap", "as"), pl.Float64),
    **dict.fromkeys(("t", "x"), pl.Int64),
}
"""A field of another type makes its stretch of frames unparsable here, and so odd."""

NESTED_MAX = 50
"""Brackets a stretch may hold beyond one object per event and one array per field."""

FRAMES_RETRIED = 32
"""When a stretch can't be parsed, this many frames at a time are tried, and given up on."""

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
        for places, events, counts in _stretches(*_bodies(frames)):
            placed = _placed(frames, places, events, counts)
            tables, bad = _tables(placed, len(places), self.feed, frames.shard)
            odd[places] = bad
            rows = sum(table.num_rows for table in tables.values())
            parts.append(Decoded(tables, schema("quarantine").empty_table(), {}, rows))
        edges = np.flatnonzero(np.diff(np.concatenate([[False], odd, [False]]).astype(np.int8)))
        for start, stop in edges.reshape(-1, 2).tolist():
            parts.append(self._reference.decode(frames.slice(start, stop)))
        return _joined(parts) if parts else self._reference.decode(frames)


def _bodies(frames: Frames) -> tuple[list[bytes], list[int]]:
    """Return the frames that are plainly arrays of objects, one object a line, and their places."""
    bodies: list[bytes] = []
    places: list[int] = []
    for i, raw in enumerate(frames):
        if raw[:2] == b"[{" and raw[-2:] == b"}]" and len(raw) <= EVENT_BYTES_MAX:
            body = raw[1:-1]
            if b"\n" not in body:
                bodies.append(body.replace(b"},{", b"}\n{"))
                places.append(i)
    return bodies, places


def _stretches(
    bodies: list[bytes], places: list[int]
) -> Iterator[tuple[Int64, pl.DataFrame, Int64]]:
    """Yield (places, events, events per frame) of what can be parsed, as much at once as can be."""
    if not bodies:
        return
    whole = _parse(bodies)
    if whole is not None:
        yield np.asarray(places, np.int64), *whole
        return
    for start in range(0, len(bodies), FRAMES_RETRIED):
        stop = start + FRAMES_RETRIED
        part = _parse(bodies[start:stop])
        if part is not None:
            yield np.asarray(places[start:stop], np.int64), *part


def _parse(bodies: list[bytes]) -> tuple[pl.DataFrame, Int64] | None:
    counts = np.fromiter((body.count(b"\n") + 1 for body in bodies), np.int64, len(bodies))
    text = b"\n".join(bodies)
    if counts.max() > EVENTS_PER_FRAME_MAX or not _plain(text, int(counts.sum())):
        return None
    try:
        events = pl.read_ndjson(text, schema=SCHEMA)
    except pl.exceptions.PolarsError:
        return None
    return (events, counts) if len(events) == counts.sum() else None


def _plain(text: bytes, objects: int) -> bool:
    """Tell whether nothing in the text reads otherwise here than by the reference decoder.

    That is: no escapes (half surrogates), no string that looks like an array, no deep nesting.
    """
    characters = np.frombuffer(text, np.uint8)
    before = characters[np.flatnonzero(characters == ord("[")) - 1]
    nested = int(np.count_nonzero(characters == ord("{"))) - objects
    nested += int(np.count_nonzero(before != ord(":")))
    return b"\\" not in text and nested <= NESTED_MAX and not (before == ord('"')).any()


def _placed(frames: Frames, places: Int64, events: pl.DataFrame, counts: Int64) -> pl.DataFrame:
    """Return the events with seq, receive time, and which of the stretch's frames they are of."""
    at = np.repeat(np.arange(len(places)), counts)
    index = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
    number = frames.first_frame + places[at]
    return events.with_columns(
        pl.Series("frame", at),
        pl.Series("seq", (number << INDEX_BITS) | index),
        pl.Series("received_us", frames.received_us[places][at]),
    )


def _tables(
    placed: pl.DataFrame, frame_count: int, feed: str, shard: int
) -> tuple[dict[str, pa.Table], Bool]:
    """Return the rows of the frames in which every event is plainly right, and the other frames."""
    bad = np.zeros(frame_count, np.bool_)
    kinds = placed["ev"].to_physical()
    rows = {kind: placed.filter(kinds == kind) for kind in ROWS}
    known = np.zeros(len(placed), np.bool_)
    for kind in ROWS:
        known |= (kinds == kind).fill_null(False).to_numpy()
    bad[placed["frame"].to_numpy()[~known]] = True
    checked = {kind: ROWS[kind](found, feed, shard) for kind, found in rows.items()}
    for kind, found in rows.items():
        bad[found["frame"].to_numpy()[~checked[kind][1]]] = True
    tables = {}
    for kind, found in rows.items():
        table = checked[kind][0]
        if bad.any():
            table = table.filter(pa.array(~bad[found["frame"].to_numpy()]))
        tables[DATASETS[kind]] = table
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
    return _table(
        "XT",
        rows,
        shard,
        {
            "ticker": ticker,
            "exchange": exchange,
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
    return _table(
        "XQ",
        rows,
        shard,
        {
            "ticker": ticker,
            "exchange": exchange,
            "event_time": time_us,
            "event_time_source": _constant("exchange", len(rows)),
            "venue_sequence": pa.nulls(len(rows), pa.int64()),
            **found,
        },
    ), ok


Rows = Callable[[pl.DataFrame, str, int], tuple[pa.Table, Bool]]
ROWS: Mapping[str, Rows] = {"XT": _trades, "XQ": _quotes}
DATASETS = {"XT": "crypto_trades", "XQ": "crypto_quotes"}


def _shared(rows: pl.DataFrame, feed: str) -> tuple[pa.Array, pa.Array, Int64, Bool]:
    """Return ticker, exchange, event time in microseconds, and which rows are right so far."""
    pairs = rows["pair"].to_arrow().cast(pa.string()).dictionary_encode()
    names = pairs.dictionary.to_pylist()
    right = np.asarray([bool(re.fullmatch(PAIR, name)) for name in names] + [False])
    spelled = pa.array([f"X:{name.replace('-', '')}" for name in names], pa.string())
    code = pairs.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
    exchange = rows["x"].fill_null(-1).to_numpy()
    values, places = np.unique(exchange, return_inverse=True)
    venues = pa.array([f"{feed}:{value}" for value in values.tolist()], pa.string())
    milliseconds = rows["t"].fill_null(-1).to_numpy()
    sane = (milliseconds > 0) & (milliseconds < MILLISECONDS_MAX)
    time_us = np.where(sane, milliseconds, 0) * 1000
    received = rows["received_us"].to_numpy()
    ok = right[code] & (exchange >= 0) & (exchange <= EXCHANGE_MAX)
    ok &= (time_us >= EVENT_TIME_US_MIN) & ((received == 0) | (time_us <= received + FUTURE_US_MAX))
    return spelled.take(pairs.indices), venues.take(pa.array(places)), time_us, ok


def _table(
    kind: str, rows: pl.DataFrame, shard: int, own: Mapping[str, pa.Array | Int64]
) -> pa.Table:
    """Return the dataset's columns in the contract's order."""
    columns_of = schema(DATASETS[kind])
    shared = {
        "market": _constant("spot", len(rows)),
        "received_time": rows["received_us"].to_numpy(),
        "shard": np.full(len(rows), shard, np.int16),
        "seq": rows["seq"].to_numpy(),
    }
    columns = {**shared, **own}
    return pa.table(
        [_typed(columns[field.name], field.type) for field in columns_of], schema=columns_of
    )


def _typed(column: pa.Array | Int64, kind: pa.DataType) -> pa.Array:
    if isinstance(column, np.ndarray):
        return pa.array(column).cast(kind) if kind == pa.int16() else pa.array(column).view(kind)
    return column


def _doubles(column: pl.Series) -> npt.NDArray[np.float64]:
    return column.fill_null(float("nan")).to_numpy()


def _constant(text: str, length: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), length)


def _joined(parts: list[Decoded]) -> Decoded:
    """Return the parts as one outcome, rows in the order of seq."""
    if len(parts) == 1:
        return parts[0]
    names = sorted({name for part in parts for name in part.tables})
    tables = {
        name: pa.concat_tables([p.tables[name] for p in parts if name in p.tables]).sort_by("seq")
        for name in names
    }
    quarantine = pa.concat_tables([part.quarantine for part in parts]).sort_by("seq")
    ignored: Counter[str] = Counter()
    for part in parts:
        ignored.update(part.ignored)
    return Decoded(tables, quarantine, dict(ignored), sum(part.events for part in parts))

"""Rows of histories: what a venue's REST history, a file or an earlier database holds.

A frame is either an Arrow stream of one dataset's rows, all of which have a key, or a note in JSON
that an answer contradicts what is held. Rows have the contract's columns but for received_time,
shard and seq, which their frame gives. A note is quarantined: it says both versions.

Frames that are plainly right are taken by the column; all else goes row by row through `_checked`,
which alone says what is wrong. So what a frame gives is a function of its bytes, as with any feed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import BadFrame
from lake.feeds.codec import (
    EVENT_TIME_US_MIN,
    EVENTS_PER_FRAME_MAX,
    FUTURE_US_MAX,
    INDEX_BITS,
    Decoded,
    Frames,
)
from lake.feeds.columns import joined
from lake.feeds.events import Bad, Event, Row, bounded_time, decode_frames, parsed, schema

FEED = "history"
DATASETS = ("crypto_trades", "crypto_quotes", "crypto_aggregates", "market_sentiment")
PLACE = ("received_time", "shard", "seq")
"""Columns that a frame gives its rows."""

NOTE = b"{"
CONTRADICTS = "contradicts_held"
"""Reason of a note: an answer that is not what is held."""

UNREADABLE = "unreadable_row"
"""Reason of a note: a row of a file with a value that can't be read."""

ROWS_PER_FRAME = 8_192
SIDES = ("buy", "sell")
INTERVALS = ("1s", "1m")
CLOSE_MAX = 1_000_000

POSITIVE: Mapping[str, tuple[str, ...]] = {
    "crypto_trades": ("price", "size"),
    "crypto_quotes": ("bid_price", "ask_price"),
    "crypto_aggregates": ("open", "high", "low", "close"),
}
KEYS: Mapping[str, str] = {"crypto_trades": "trade_id", "crypto_quotes": "venue_sequence"}
"""Columns that a row of a history must have though the contract lets them be null."""


@cache
def row_schema(dataset: str) -> pa.Schema:
    """Return the columns of a dataset's rows in a frame, in the contract's order."""
    return pa.schema(
        [pa.field(each.name, each.type) for each in schema(dataset) if each.name not in PLACE],
        metadata={"dataset": dataset},
    )


def frames_of_rows(dataset: str, rows: pa.Table) -> list[bytes]:
    """Return rows as frames, in their order; columns as row_schema has them.

    They are not compressed: a writer's batch is bounded by the bytes of its frames.
    """
    frames = []
    for start in range(0, rows.num_rows, ROWS_PER_FRAME):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, row_schema(dataset)) as writer:
            writer.write_table(rows.slice(start, ROWS_PER_FRAME).combine_chunks())
        frames.append(sink.getvalue().to_pybytes())
    return frames


def note_of(reason: str, detail: str, **said: Any) -> bytes:
    """Return the frame that has something of a history quarantined; said: what it was about."""
    return orjson.dumps({"reason": reason, "detail": detail, **said}, default=_spelled)


def contradiction(of: str, answer: Mapping[str, Any], held: Mapping[str, Any]) -> bytes:
    """Return the frame that says that an answer of a history contradicts what is held."""
    spelled = [orjson.dumps(each, default=_spelled).decode() for each in (answer, held)]
    detail = f"{of} says {spelled[0]}, held is {spelled[1]}"
    return note_of(CONTRADICTS, detail, answer=answer, held=held)


def _spelled(value: object) -> str:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


class HistoryCodec:
    """Decode rows of histories."""

    feed = FEED
    version = 1
    ids_contiguous = False

    def decode(self, frames: Frames) -> Decoded:
        """Return every row of frames, classed; never raises for what a frame contains."""
        parts: list[Decoded] = []
        odd = []
        for i, raw in enumerate(frames):
            found = None if raw.startswith(NOTE) else _plainly_right(raw, frames, i)
            if found is None:
                odd.append(i)
            else:
                parts.append(found)
        if odd or not parts:
            parts.append(decode_frames(frames, self.feed, _events, odd))
        return joined(parts)


def _plainly_right(raw: bytes, frames: Frames, i: int) -> Decoded | None:
    """Return a frame's rows if every one of them is right, else None."""
    try:
        dataset, rows = _table(raw)
    except BadFrame:
        return None
    received_us = int(frames.received_us[i])
    if not 0 < rows.num_rows <= EVENTS_PER_FRAME_MAX or not _right(dataset, rows, received_us):
        return None
    number = frames.first_frame + i
    place = {
        "received_time": pa.array(np.full(rows.num_rows, received_us)),
        "shard": pa.array(np.full(rows.num_rows, frames.shard, np.int16)),
        "seq": pa.array((number << INDEX_BITS) + np.arange(rows.num_rows)),
    }
    wanted = schema(dataset)
    columns = [
        place[each.name].cast(each.type) if each.name in place else rows[each.name]
        for each in wanted
    ]
    quarantine = schema("quarantine").empty_table()
    table = pa.table(columns, schema=wanted)
    return Decoded({dataset: table}, quarantine, {}, rows.num_rows)


def _table(raw: bytes) -> tuple[str, pa.Table]:
    """Return a frame's dataset and rows; raises BadFrame for what is no such frame."""
    try:
        with pa.ipc.open_stream(raw) as reader:
            dataset = (reader.schema.metadata or {}).get(b"dataset", b"").decode()
            rows = reader.read_all()
            rows.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError, UnicodeDecodeError) as error:
        raise BadFrame("frame", "is no Arrow stream", "not_arrow") from error
    if dataset not in DATASETS:
        raise BadFrame("frame", f"is of {dataset[:40]!r}", "unknown_dataset")
    if not rows.schema.equals(row_schema(dataset)):
        raise BadFrame("frame", f"does not have the columns of {dataset}", "wrong_columns")
    return dataset, rows


def _right(dataset: str, rows: pa.Table, received_us: int) -> bool:
    """Tell whether every row is plainly right, by the column."""
    nullable = {each.name for each in schema(dataset) if each.nullable} - {KEYS.get(dataset)}
    if any(rows[name].null_count for name in rows.column_names if name not in nullable):
        return False
    times = pc.min_max(rows["event_time"].cast(pa.int64()))
    last_us = received_us + FUTURE_US_MAX if received_us else times["max"].as_py()
    if times["min"].as_py() < EVENT_TIME_US_MIN or times["max"].as_py() > last_us:
        return False
    if any(pc.min(rows[name]).as_py() <= 0 for name in POSITIVE.get(dataset, ())):
        return False
    return bool(pc.all(_OWN_RULES[dataset](rows)).as_py())


def _trade_rules(rows: pa.Table) -> Any:
    known = pc.is_in(rows["side"], pa.array([*SIDES, None], pa.string()))
    return pc.and_(known, pc.greater(pc.utf8_length(rows["trade_id"]), 0))


def _quote_rules(rows: pa.Table) -> Any:
    sizes = (pc.greater_equal(rows[name], Decimal(0)) for name in ("bid_size", "ask_size"))
    return pc.and_(pc.and_(*sizes), pc.greater_equal(rows["venue_sequence"], 0))


def _aggregate_rules(rows: pa.Table) -> Any:
    low = pc.min_element_wise(rows["open"], rows["close"])
    high = pc.max_element_wise(rows["open"], rows["close"])
    inside = pc.and_(pc.less_equal(rows["low"], low), pc.greater_equal(rows["high"], high))
    known = pc.is_in(rows["interval"], pa.array(INTERVALS))
    sane = pc.and_(
        pc.less_equal(rows["close"], Decimal(CLOSE_MAX)),
        pc.greater_equal(rows["volume"], Decimal(0)),
    )
    return pc.and_(pc.and_(inside, known), sane)


def _sentiment_rules(rows: pa.Table) -> Any:
    score = pc.less_equal(pc.abs(rows["sentiment_score"]), Decimal(1))
    low = pc.greater_equal(rows["confidence"], Decimal(0))
    return pc.and_(score, pc.and_(low, pc.less_equal(rows["confidence"], Decimal(1))))


_OWN_RULES = {
    "crypto_trades": _trade_rules,
    "crypto_quotes": _quote_rules,
    "crypto_aggregates": _aggregate_rules,
    "market_sentiment": _sentiment_rules,
}


def _events(raw: bytes, received_us: int) -> Iterable[Event]:
    """Return a frame's events one by one."""
    if raw.startswith(NOTE):
        return [_note(raw)]
    dataset, rows = _table(raw)
    if not rows.num_rows:
        raise BadFrame("frame", "holds no rows", "empty")
    return [
        _checked(dataset, rows.slice(i, 1), i, received_us)
        for i in range(min(rows.num_rows, EVENTS_PER_FRAME_MAX + 1))
    ]


def _note(raw: bytes) -> Bad:
    note = parsed(raw)
    words = [note.get(name) for name in ("reason", "detail")] if isinstance(note, dict) else [None]
    if not all(isinstance(each, str) and each for each in words):
        raise BadFrame("frame", "is JSON, but no note of ours", "unknown_event")
    reason, detail = words
    return Bad(str(reason), str(detail), "$")


def _checked(dataset: str, row: pa.Table, i: int, received_us: int) -> Event:
    """Return one row as it is, or what is wrong with it."""
    values = row.to_pylist()[0]
    raw = orjson.dumps(values, default=_spelled)
    needed = [
        each.name for each in row_schema(dataset) if not schema(dataset).field(each.name).nullable
    ]
    for name in (*needed, KEYS.get(dataset, needed[0])):
        if values[name] is None:
            reason = "no_key" if name == KEYS.get(dataset) else "missing_field"
            return Bad(reason, f"{name}: is missing", f"[{i}].{name}", raw)
    at_us = int(row["event_time"].cast(pa.int64())[0].as_py())
    try:
        bounded_time(at_us, "event_time", received_us)
    except BadFrame as error:
        return Bad(error.remedy, f"{error.thing}: {error.fault}", f"[{i}].event_time", raw)
    for name in POSITIVE.get(dataset, ()):
        if values[name] <= 0:
            return Bad(f"{name}_not_positive", f"{name}: is {values[name]}", f"[{i}].{name}", raw)
    if not _OWN_RULES[dataset](row)[0].as_py():
        return Bad("out_of_range", f"{dataset}: a value is outside its bounds", f"[{i}]", raw)
    return Row(dataset, values)

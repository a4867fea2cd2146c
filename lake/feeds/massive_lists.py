"""Decode a few hundred of Massive's frames soon: a frame at a time to lists, then by the column.

A column decoder (lake.feeds.massive_columns) costs milliseconds whatever it is given, the reference
decoder (lake.feeds.massive) some 17 microseconds an event; this some four, and as Arrow a quarter
of a millisecond more. It accepts what is plainly right. A frame with anything else, were it one odd
digit, goes to the reference decoder, which alone defines what is wrong with it. All give the same
rows, by test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from lake.feeds.codec import EVENT_BYTES_MAX, EVENTS_PER_FRAME_MAX, INDEX_BITS, Decoded, Frames
from lake.feeds.columns import joined, possible_times
from lake.feeds.events import FIELDS_MAX, TRADE_ID_CHARS_MAX, schema
from lake.feeds.massive import EXCHANGE_MAX, PAIR_PATTERN, SIDES, MassiveCodec
from lake.feeds.plain import Plain, Texts
from lake.feeds.scaled import scaled

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

NAMES_MAX = 10_000
"""Pairs that are remembered with their tickers."""

MILLISECONDS_BELOW = float(1 << 50)
NO_SIDE, BAD_SIDE = 0, -1
MAY_BE_ZERO = ("bs", "as")
NUMBERS = {float, int}


@dataclass(slots=True)
class _Events:
    """Events of one kind; place: of the frame in its run; index: of the event in its frame."""

    events: list[dict[str, Any]] = field(default_factory=list)
    place: list[int] = field(default_factory=list)
    index: list[int] = field(default_factory=list)

    def values(self, name: str) -> list[Any]:
        """Return a field of every event, None where it has none."""
        return [event.get(name) for event in self.events]


class MassiveLists:
    """The codec for few frames of `massive` and `sim`; same outcome as MassiveCodec."""

    ids_contiguous = False

    def __init__(self, feed: str = "massive") -> None:
        self.feed = feed
        self._reference = MassiveCodec(feed)
        self.version = self._reference.version

    def decode(self, frames: Frames) -> Decoded:
        """Return every event of frames, classed; never raises for what a frame contains."""
        rows, rest = self.plain(frames)
        tables = {name: found.table() for name, found in rows.items()}
        count = sum(table.num_rows for table in tables.values())
        parts = [Decoded(tables, schema("quarantine").empty_table(), {}, count)]
        return joined(parts if rest is None else [*parts, rest])

    def plain(self, frames: Frames) -> tuple[dict[str, Plain], Decoded | None]:
        """Return the rows of the frames in which all is plainly right, and the others' outcome.

        The latter is None where there is no other.
        """
        found, odd = _by_kind(frames)
        made: list[tuple[Plain, Int64]] = []
        for kind, events in found.items():
            if events.events:
                place = np.asarray(events.place, np.int64)
                columns, ok = ROWS[kind](events, frames, place, self.feed)
                if not ok.all():
                    odd[place[~ok]] = True
                made.append((Plain(DATASETS[kind], columns), place))
        if not odd.any():
            return {rows.dataset: rows for rows, _ in made}, None
        kept = {rows.dataset: rows.filter(~odd[place]) for rows, place in made}
        return kept, self._reference.decode(frames, np.flatnonzero(odd).tolist())


def _by_kind(frames: Frames) -> tuple[dict[str, _Events], Bool]:
    """Return the events by kind, and which frames hold anything else: those are to be left out."""
    found = {kind: _Events() for kind in ROWS}
    odd = np.zeros(len(frames), np.bool_)
    for place, raw in enumerate(frames):
        events = _split(raw)
        odd[place] = not events
        for index, event in enumerate(events):
            kind = event.get("ev") if type(event) is dict and len(event) <= FIELDS_MAX else None
            of = found.get(kind) if type(kind) is str else None
            if of is None:
                odd[place] = True
                break
            of.events.append(event)
            of.place.append(place)
            of.index.append(index)
    return found, odd


def _split(raw: bytes) -> list[Any]:
    """Return a frame's events; none where it is no plain array of them."""
    if len(raw) > EVENT_BYTES_MAX:
        return []
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return []
    return found if type(found) is list and len(found) <= EVENTS_PER_FRAME_MAX else []


def _trades(events: _Events, frames: Frames, place: Int64, feed: str) -> tuple[Columns, Bool]:
    own, ok = _shared(events, frames, place, feed)
    ok &= _amounts(events, own, {"price": "p", "size": "s"})
    ids = [str(each) if type(each) is int else each for each in events.values("i")]
    right = [_is_trade_id(each) for each in ids]
    sides = [_side(each) for each in events.values("c")]
    if not all(right):
        ok &= np.asarray(right)
        ids = [each if fits else None for each, fits in zip(ids, right, strict=True)]
    if BAD_SIDE in sides:
        ok &= np.asarray(sides) != BAD_SIDE
    own["trade_id"] = ids
    own["side"] = [SIDES.get(each) for each in sides]
    return own, ok


def _quotes(events: _Events, frames: Frames, place: Int64, feed: str) -> tuple[Columns, Bool]:
    own, ok = _shared(events, frames, place, feed)
    names = {"bid_price": "bp", "bid_size": "bs", "ask_price": "ap", "ask_size": "as"}
    ok &= _amounts(events, own, names)
    own["event_time_source"] = ["exchange"] * len(place)
    return own, ok


Columns = dict[str, Texts | Int64]
Rows = Callable[[_Events, Frames, Int64, str], tuple[Columns, Bool]]
ROWS: Mapping[str, Rows] = {"XT": _trades, "XQ": _quotes}
DATASETS = {"XT": "crypto_trades", "XQ": "crypto_quotes"}


def _shared(events: _Events, frames: Frames, place: Int64, feed: str) -> tuple[Columns, Bool]:
    """Return the columns that every row has, and which rows are right so far."""
    received_us = frames.received_us[place]
    tickers = [_ticker(pair) if type(pair) is str else "" for pair in events.values("pair")]
    venues = [_venue(feed, x) if type(x) is int else "" for x in events.values("x")]
    time_us, ok = _times_us(events.values("t"))
    ok &= possible_times(time_us, received_us)
    if not (all(tickers) and all(venues)):
        ok &= np.asarray([bool(one and other) for one, other in zip(tickers, venues, strict=True)])
    number = frames.first_frame + place
    columns: Columns = {
        "received_time": received_us,
        "shard": np.full(len(place), frames.shard, np.int16),
        "seq": (number << INDEX_BITS) | np.asarray(events.index, np.int64),
        "ticker": list(tickers),
        "exchange": list(venues),
        "market": ["spot"] * len(place),
        "event_time": time_us,
    }
    return columns, ok


def _amounts(events: _Events, columns: Columns, names: Mapping[str, str]) -> Bool:
    """Add amounts to columns; tell where they are plainly right. names: column -> field."""
    count = len(events.events)
    given = [value for name in names.values() for value in events.values(name)]
    values, exact = scaled(_doubles(given))
    right: Bool = np.logical_and(exact, values >= 0)
    for n, (column, name) in enumerate(names.items()):
        mine = slice(n * count, (n + 1) * count)
        columns[column] = values[mine]
        if name not in MAY_BE_ZERO:
            right[mine] &= values[mine] > 0
    found: Bool = np.logical_and.reduce(right.reshape(len(names), count))
    return found


def _times_us(milliseconds: Sequence[Any]) -> tuple[Int64, Bool]:
    """Return whole milliseconds as microseconds, and which are whole and no nonsense."""
    given = np.asarray([each if type(each) is int else -1 for each in milliseconds], np.float64)
    sane = (given > 0) & (given < MILLISECONDS_BELOW)
    return np.where(sane, given, 0).astype(np.int64) * 1_000, sane


def _doubles(values: Sequence[Any]) -> Float64:
    """Return numbers as doubles, whatever else there is as NaN."""
    if not set(map(type, values)) <= NUMBERS:
        values = [each if type(each) in NUMBERS else float("nan") for each in values]
    return np.asarray(values, np.float64)


def _is_trade_id(value: Any) -> bool:
    """Tell whether an id is plainly right, or is not there."""
    if type(value) is str:
        return 0 < len(value) <= TRADE_ID_CHARS_MAX and value.isprintable()
    return value is None


def _side(codes: Any) -> int:
    """Return the code of a trade's side, NO_SIDE for none; BAD_SIDE where it is not plain."""
    if codes is None or codes == []:
        return NO_SIDE
    if type(codes) is list and len(codes) == 1 and type(codes[0]) is int:
        return codes[0] if codes[0] in (NO_SIDE, *SIDES) else BAD_SIDE
    return BAD_SIDE


@lru_cache(NAMES_MAX)
def _ticker(pair: str) -> str:
    """Return a pair's ticker, "" for what is no pair."""
    return f"X:{pair.replace('-', '')}" if PAIR_PATTERN.fullmatch(pair) else ""


@lru_cache(NAMES_MAX)
def _venue(feed: str, x: int) -> str:
    """Return an exchange's name, "" for what is none."""
    return f"{feed}:{x}" if 0 <= x <= EXCHANGE_MAX else ""

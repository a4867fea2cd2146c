"""Many frames at once as newline-delimited JSON, parsed into typed columns.

What can't be parsed so, or might read otherwise than by the reference decoders, is left out: the
reference decoders take it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from lake.feeds.codec import EVENT_BYTES_MAX, EVENTS_PER_FRAME_MAX, INDEX_BITS, Frames
from lake.feeds.events import FIELD_BYTES_MIN, FIELDS_MAX

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Columns = Mapping[str, type[pl.DataType]]

NESTED_MAX = 50
"""Brackets a stretch may hold beyond one object per event and one array per field."""

SPACED_COLON = re.compile(rb'"[ \t\r]+:')

LINE_BYTES_MAX = FIELDS_MAX * FIELD_BYTES_MIN
"""A longer line may have too many fields."""

FRAMES_RETRIED = 32
"""When a stretch can't be parsed, this many frames at a time are tried, and given up on."""


def stretches(
    frames: Frames, bodies: list[bytes], places: list[int], schema: Columns
) -> Iterator[tuple[Int64, pl.DataFrame]]:
    """Yield (places of frames, their events) of what can be parsed, as much at once as can be.

    bodies: each frame's events, one JSON object a line. Events get the columns of schema and
    frame (index in the places yielded), seq and received_us. A frame in which a key of schema may
    come twice in one event is left out, and one with such a key spelled otherwise or null.
    """
    if not bodies:
        return
    at = np.asarray(places, np.int64)
    whole = _parse(bodies, schema)
    if whole is not None:
        yield _placed(frames, at, whole)
        return
    for start in range(0, len(bodies), FRAMES_RETRIED):
        stop = start + FRAMES_RETRIED
        part = _parse(bodies[start:stop], schema)
        if part is not None:
            yield _placed(frames, at[start:stop], part)


def whole_arrays(frames: Frames, schema: Columns) -> tuple[Int64, pl.DataFrame] | None:
    """Return what `stretches` yields when all frames are plain arrays of objects, else None.

    The usual case, without a step per frame: a frame is known by where its line breaks are.
    """
    found = _array_lines(frames)
    if found is None:
        return None
    text, counts = found
    events = _read(text, counts, schema)
    if events is None:
        return None
    # A value takes a colon, in every frame; so where the sums agree, they do in each of them.
    colons = np.count_nonzero(np.frombuffer(text, np.uint8) == ord(":"))
    if len(events) * len(schema) - sum(events.null_count().row(0)) != colons:
        return None
    right = np.ones(len(frames), np.bool_)
    return _placed(frames, np.arange(len(frames)), _Parsed(events, counts, right))


def _array_lines(frames: Frames) -> tuple[bytes, Int64] | None:
    """Return all events, one a line, and how many each frame has; None when a frame is unusual.

    Lines are made in place: a comma between objects becomes a break, a frame's brackets blanks.
    """
    starts, ends = frames.offsets[:-1], frames.offsets[1:] - 1
    if not len(frames) or (ends - starts).min() < len("[{}]"):
        return None
    if (ends - starts).max() > EVENT_BYTES_MAX:
        return None
    text = bytearray(frames.payload)
    characters = np.frombuffer(text, np.uint8)
    for places, character in ((starts, "["), (ends - 2, "}"), (ends - 1, "]")):
        if not (characters[places] == ord(character)).all():
            return None
    objects = np.flatnonzero(characters == ord("{"))
    first = np.searchsorted(objects, starts)
    if first[-1] == len(objects) or not (objects[first] == starts + 1).all():
        return None
    later = np.delete(objects, first)
    if not ((characters[later - 1] == ord(",")) & (characters[later - 2] == ord("}"))).all():
        return None
    if np.diff(objects, append=len(text)).max() > LINE_BYTES_MAX:
        return None
    if np.count_nonzero(characters == ord("\n")) != len(frames):
        return None
    characters[later - 1] = ord("\n")
    characters[starts] = characters[ends - 1] = ord(" ")
    return bytes(text), np.diff(first, append=len(objects))


@dataclass(frozen=True, slots=True)
class _Parsed:
    """events of many frames; how many each frame has; which frames are right so far."""

    events: pl.DataFrame
    counts: Int64
    right: Bool


def _parse(bodies: list[bytes], schema: Columns) -> _Parsed | None:
    counts = np.fromiter((body.count(b"\n") + 1 for body in bodies), np.int64, len(bodies))
    text = b"\n".join(bodies)
    events = _read(text, counts, schema)
    if events is None:
        return None
    return _Parsed(events, counts, _keys_once(bodies, events, counts))


def _read(text: bytes, counts: Int64, schema: Columns) -> pl.DataFrame | None:
    """Return one event a line, so many per frame; None when it may read otherwise elsewhere."""
    count = int(counts.sum())
    if counts.max() > EVENTS_PER_FRAME_MAX or not _plain(text, count):
        return None
    try:
        events = pl.read_ndjson(text, schema=schema)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    return events if len(events) == count else None


def _keys_once(bodies: list[bytes], events: pl.DataFrame, counts: Int64) -> Bool:
    """Tell in which frames no event has a key of the schema twice.

    Readers of JSON disagree on which one counts (RFC 8259, 4). A key takes a colon: where there are
    as many as values, every key is known and comes once. Else the keys are counted one by one.
    """
    given = events.select(pl.sum_horizontal(pl.all().is_not_null())).to_series().to_numpy()
    starts = np.cumsum(counts) - counts
    values = np.add.reduceat(given, starts, dtype=np.int64)
    colons = np.fromiter((body.count(b":") for body in bodies), np.int64, len(bodies))
    once: Bool = values == colons
    for place in np.flatnonzero(~once).tolist():
        part = events.slice(int(starts[place]), int(counts[place]))
        found = zip(part.columns, part.null_count().row(0), strict=True)
        once[place] = not SPACED_COLON.search(bodies[place]) and all(
            bodies[place].count(f'"{name}":'.encode()) == len(part) - nulls for name, nulls in found
        )
    return once


def _plain(text: bytes, objects: int) -> bool:
    """Tell whether nothing in the text reads otherwise here than by the reference decoders.

    That is: no escapes (half surrogates), no string that looks like an array, no deep nesting.
    """
    characters = np.frombuffer(text, np.uint8)
    before = characters[np.flatnonzero(characters == ord("[")) - 1]
    nested = int(np.count_nonzero(characters == ord("{"))) - objects
    nested += int(np.count_nonzero(before != ord(":")))
    return b"\\" not in text and nested <= NESTED_MAX and not (before == ord('"')).any()


def _placed(frames: Frames, places: Int64, found: _Parsed) -> tuple[Int64, pl.DataFrame]:
    counts, events = found.counts, found.events
    if not found.right.all():
        events = events.filter(pl.Series(np.repeat(found.right, counts)))
        places, counts = places[found.right], counts[found.right]
    at = np.repeat(np.arange(len(places)), counts)
    index = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
    number = frames.first_frame + places[at]
    return places, events.with_columns(
        pl.Series("frame", at),
        pl.Series("seq", (number << INDEX_BITS) | index),
        pl.Series("received_us", frames.received_us[places][at]),
    )

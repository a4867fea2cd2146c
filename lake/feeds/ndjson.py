"""Many frames at once as newline-delimited JSON, parsed into typed columns.

What can't be parsed so, or might read otherwise than by the reference decoders, is left out: the
reference decoders take it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from lake.feeds.codec import EVENTS_PER_FRAME_MAX, INDEX_BITS, Frames

Int64 = npt.NDArray[np.int64]
Columns = Mapping[str, type[pl.DataType]]

NESTED_MAX = 50
"""Brackets a stretch may hold beyond one object per event and one array per field."""

FRAMES_RETRIED = 32
"""When a stretch can't be parsed, this many frames at a time are tried, and given up on."""


def stretches(
    frames: Frames, bodies: list[bytes], places: list[int], schema: Columns
) -> Iterator[tuple[Int64, pl.DataFrame]]:
    """Yield (places of frames, their events) of what can be parsed, as much at once as can be.

    bodies: each frame's events, one JSON object a line. Events get the columns of schema and
    frame (index in the places yielded), seq and received_us.
    """
    if not bodies:
        return
    whole = _parse(bodies, schema)
    if whole is not None:
        at = np.asarray(places, np.int64)
        yield at, _placed(frames, at, *whole)
        return
    for start in range(0, len(bodies), FRAMES_RETRIED):
        stop = start + FRAMES_RETRIED
        part = _parse(bodies[start:stop], schema)
        if part is not None:
            at = np.asarray(places[start:stop], np.int64)
            yield at, _placed(frames, at, *part)


def _parse(bodies: list[bytes], schema: Columns) -> tuple[pl.DataFrame, Int64] | None:
    """Return the events and how many each frame has."""
    counts = np.fromiter((body.count(b"\n") + 1 for body in bodies), np.int64, len(bodies))
    text = b"\n".join(bodies)
    if counts.max() > EVENTS_PER_FRAME_MAX or not _plain(text, int(counts.sum())):
        return None
    try:
        events = pl.read_ndjson(text, schema=schema)
    except pl.exceptions.PolarsError:
        return None
    return (events, counts) if len(events) == counts.sum() else None


def _plain(text: bytes, objects: int) -> bool:
    """Tell whether nothing in the text reads otherwise here than by the reference decoders.

    That is: no escapes (half surrogates), no string that looks like an array, no deep nesting.
    """
    characters = np.frombuffer(text, np.uint8)
    before = characters[np.flatnonzero(characters == ord("[")) - 1]
    nested = int(np.count_nonzero(characters == ord("{"))) - objects
    nested += int(np.count_nonzero(before != ord(":")))
    return b"\\" not in text and nested <= NESTED_MAX and not (before == ord('"')).any()


def _placed(frames: Frames, places: Int64, events: pl.DataFrame, counts: Int64) -> pl.DataFrame:
    at = np.repeat(np.arange(len(places)), counts)
    index = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
    number = frames.first_frame + places[at]
    return events.with_columns(
        pl.Series("frame", at),
        pl.Series("seq", (number << INDEX_BITS) | index),
        pl.Series("received_us", frames.received_us[places][at]),
    )

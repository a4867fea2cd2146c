"""What a refused event looked like: its own bytes out of the frame, as they came."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from lake.feeds.codec import EVENT_BYTES_MAX
from lake.feeds.events import Bad, Event, Ignored, is_utf8

DECODER = json.JSONDecoder()
BETWEEN = re.compile(r"[ \t\n\r,:]*")


def as_they_came(
    events: Iterable[Event], raw: bytes, path: str = "$", key: str | int | None = None
) -> list[Event]:
    """Return the events of an array, each refused one with its own bytes.

    Refused are also those over 1 MiB, and those whose bytes are not UTF-8. raw: the whole frame,
    which is JSON but for such bytes; the array is the frame itself or its value at key; path: the
    array's place.
    """
    found = list(events)
    refused = len(raw) > EVENT_BYTES_MAX or any(isinstance(event, Bad) for event in found)
    if not refused and is_utf8(raw):
        return found
    text = raw.decode(errors="surrogateescape")
    spans = _elements(text, _value_at(text, key))
    return [
        _kept(event, text[start:end].encode(errors="surrogateescape"), f"{path}[{index}]")
        for index, (event, (start, end)) in enumerate(zip(found, spans, strict=True))
    ]


def whole_frame(event: Event, raw: bytes, path: str = "$") -> Event:
    """Return the only event of a frame, refused if the frame is over 1 MiB."""
    return _kept(event, raw, path)


def _kept(event: Event, raw: bytes, path: str) -> Event:
    if not is_utf8(raw):
        return Bad("not_utf8", "event: is not UTF-8", path, raw)
    if isinstance(event, Ignored):
        return event
    if len(raw) > EVENT_BYTES_MAX:
        return Bad("too_large", f"event: is over {EVENT_BYTES_MAX} bytes", path, raw)
    return replace(event, raw=raw) if isinstance(event, Bad) else event


def _value_at(text: str, key: str | int | None) -> int:
    """Return where the value at a key of the frame starts; the last one of a doubled key counts."""
    start = _skip(text, 0)
    if key is None:
        return start
    spans = [begin for begin, _ in _elements(text, start)]
    if isinstance(key, int):
        return spans[key]
    names = [DECODER.raw_decode(text, begin)[0] for begin in spans[::2]]
    found: int = dict(zip(names, spans[1::2], strict=True))[key]
    return found


def _elements(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of what stands in an array; of an object, its keys and values in turn."""
    at = _skip(text, start + 1)
    while text[at] not in "]}":
        _, end = DECODER.raw_decode(text, at)
        yield at, end
        at = _skip(text, end)


def _skip(text: str, at: int) -> int:
    found = BETWEEN.match(text, at)
    return found.end() if found else at

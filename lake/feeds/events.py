"""What the per-event decoders share: outcomes of one event, checks, and their way into tables."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import orjson
import pyarrow as pa

from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.errors import BadFrame
from lake.feeds.codec import (
    EVENT_TIME_US_MIN,
    EVENTS_PER_FRAME_MAX,
    FUTURE_US_MAX,
    INDEX_BITS,
    Decoded,
    Frames,
)
from lake.feeds.instrument_words import Told

TRADE_ID_CHARS_MAX = 64
FIELDS_MAX = 1_000
"""An event with more fields than this is quarantined: no venue sends a tenth of them."""

FIELD_BYTES_MIN = 6
"""A field takes at least this in JSON: a line shorter than FIELDS_MAX of them has not too many."""
CODE = re.compile(r"[\w .:-]{1,40}", re.ASCII)
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Half surrogates too: an escape may spell them, and no UTF-8 can."""

TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
BRACKETS_ALIKE = bytes.maketrans(b"{}", b"[]")
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
DEPTH_MAX = 100
"""A frame nested deeper is quarantined whole if anything in it is refused: Python's own limit
depends on who calls, and the outcome must not."""

WHOLE_BELOW = 2**53
"""A double from here on may stand for several whole numbers."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Row:
    """An event that becomes a row: its own columns, without received_time, shard and seq."""

    dataset: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ignored:
    """An event that carries nothing to store; told: what it says of instruments."""

    kind: str
    told: tuple[Told, ...] = ()


@dataclass(frozen=True, slots=True)
class Bad:
    """An event for quarantine; path is its place in the frame, in JSONPath; no raw: all of it."""

    reason: str
    detail: str
    path: str
    raw: bytes | None = None


Event = Row | Ignored | Bad
DecodeEvents = Callable[[bytes, int], Iterable[Event]]
"""(raw frame, received_us) -> its events, in order; each has the index of its place."""


def decode_frames(
    frames: Frames, feed: str, decode: DecodeEvents, places: Iterable[int] | None = None
) -> Decoded:
    """Decode frame by frame with a per-event decoder; never raises for what a frame contains.

    places: the frames to decode, counted from 0, rising; all of them if none are given.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    bad: list[dict[str, Any]] = []
    ignored: Counter[str] = Counter()
    told: list[Told] = []
    events = 0
    received = frames.received_us.tolist()
    connections = frames.connection.tolist()
    for i in range(len(frames)) if places is None else places:
        raw, number = frames[i], frames.first_frame + i
        shared = {"received_time": received[i], "shard": frames.shard}
        for index, event in enumerate(decoded_or_bad(raw, received[i], decode)):
            events += 1
            place = {**shared, "seq": (number << INDEX_BITS) | index}
            if isinstance(event, Row):
                rows.setdefault(event.dataset, []).append({**event.values, **place})
            elif isinstance(event, Ignored):
                ignored[event.kind] += 1
                told += event.told
            else:
                where = f"frame {number} event {index} {event.path}"
                found = event.raw if event.raw is not None else raw
                bad.append(_quarantined(event, found, where, feed, connections[i], place))
    tables = {name: pa.Table.from_pylist(found, schema(name)) for name, found in rows.items()}
    quarantine = pa.Table.from_pylist(bad, schema("quarantine"))
    return Decoded(tables, quarantine, dict(ignored), events, tuple(told))


def decoded_or_bad(raw: bytes, received_us: int, decode: DecodeEvents) -> list[Event]:
    """Return a frame's events; one Bad for a frame that can't be split or numbered."""
    try:
        events = list(decode(raw, received_us))
    except BadFrame as error:
        return [Bad(error.remedy, f"{error.thing}: {error.fault}", "$")]
    except RecursionError:
        return [TOO_DEEP]
    except Exception as error:  # a fault of ours costs one frame; recovery would meet it again
        return [Bad("decoder_fault", f"{type(error).__name__}: {error}", "$")]
    if len(events) > EVENTS_PER_FRAME_MAX:
        return [Bad("too_many_events", f"frame: holds {len(events):,} events", "$")]
    if any(isinstance(event, Bad) for event in events) and too_deep(raw):
        return [TOO_DEEP]
    return events


TOO_DEEP = Bad("too_deep", f"frame: is nested deeper than {DEPTH_MAX}", "$")


def is_utf8(raw: bytes) -> bool:
    """Tell whether bytes are UTF-8."""
    try:
        return raw.isascii() or raw.decode() is not None
    except UnicodeDecodeError:
        return False


def too_deep(raw: bytes) -> bool:
    """Tell whether a text is nested deeper than DEPTH_MAX, or has as many brackets without end."""
    left = TEXT.sub(b"", raw).translate(BRACKETS_ALIKE, NO_BRACKETS)
    for _ in range(DEPTH_MAX):
        outer = left.replace(b"[]", b"")
        if outer == left:
            return len(left) > DEPTH_MAX
        left = outer
    return bool(left)


def _quarantined(
    event: Bad, raw: bytes, where: str, feed: str, connection: int, place: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        **place,
        "feed": feed,
        "connection": connection,
        "reason": event.reason,
        "detail": CONTROL_CHARACTERS.sub("?", event.detail),
        "place": where,
        "raw": raw,
    }


@cache
def schema(dataset: str) -> pa.Schema:
    """Return a dataset's Arrow schema."""
    return arrow_schema(load(dataset))


def parsed(raw: bytes) -> Any:
    """Return a frame as JSON; raises BadFrame not_utf8 or not_json.

    NaN, Infinity, numbers past the doubles, escapes of half surrogates and bytes that are not UTF-8
    are no JSON, but only their event is bad: a laxer reader splits such a frame, so that the rest
    of it is stored. A byte that is not UTF-8 reads as half a surrogate.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        try:
            if not too_deep(raw):
                return json.loads(raw.decode(errors="surrogateescape"))
        except ValueError:
            pass  # then the first reader's words are the better ones
        if not is_utf8(raw):
            raise BadFrame("frame", "is not UTF-8", "not_utf8") from error
        raise BadFrame("frame", f"is not JSON: {error.msg}", "not_json") from error


def checked(
    decode: Callable[[Mapping[str, Any], int], Event], event: object, path: str, received_us: int
) -> Event:
    """Decode one event of a frame; Bad for what is no object, too large, or refused."""
    if not isinstance(event, dict):
        return Bad("not_an_object", f"event: is {type(event).__name__}", path)
    if len(event) > FIELDS_MAX:
        return Bad("too_many_fields", f"event: has {len(event):,} fields", path)
    try:
        return decode(event, received_us)
    except BadFrame as error:
        return Bad(error.remedy, f"{error.thing}: {error.fault}", f"{path}.{error.thing}")


def time_us(value: object, place: str, received_us: int, *, unit_us: int = 1000) -> int:
    """Return an exchange's whole-number time as UTC microseconds, within bounds.

    unit_us: microseconds per unit. Raises BadFrame missing_field, bad_time, time_too_early,
    time_in_future.
    """
    if value is None:
        raise BadFrame(place, "is missing", "missing_field")
    found = whole(value)
    if found is None:
        raise BadFrame(place, f"{str(value)[:40]} is not a whole number", "bad_time")
    return bounded_time(found * unit_us, place, received_us)


def whole(value: object) -> int | None:
    """Return a whole JSON number, however written (3, 3.0, 3e0); None for anything else."""
    if isinstance(value, float) and value.is_integer() and abs(value) < WHOLE_BELOW:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def bounded_time(found_us: int, place: str, received_us: int) -> int:
    """Return the time if it may be an event's; raises BadFrame time_too_early, time_in_future."""
    if found_us < EVENT_TIME_US_MIN:
        raise BadFrame(place, f"{found_us} us is before any crypto market", "time_too_early")
    if received_us and found_us > received_us + FUTURE_US_MAX:
        raise BadFrame(
            place,
            f"{found_us} us is more than {FUTURE_US_MAX // 1_000_000} s after its receipt",
            "time_in_future",
        )
    if found_us > TIME_US_MAX:
        raise BadFrame(place, f"{found_us} us is past the year 9999", "time_in_future")
    return found_us


TIME_US_MAX = 253_402_300_799_999_999


def rfc3339_us(value: object, place: str, received_us: int) -> int:
    """Return an RFC 3339 time as UTC microseconds, within bounds; finer digits are cut."""
    if not isinstance(value, str):
        raise BadFrame(place, "is missing or no text", "missing_field")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise BadFrame(place, f"{value[:40]!r} is no time", "bad_time") from error
    if moment.tzinfo is None:
        raise BadFrame(place, f"{value[:40]!r} has no time zone", "bad_time")
    return bounded_time((moment - EPOCH) // timedelta(microseconds=1), place, received_us)


def trade_id(value: object, place: str) -> str | None:
    """Return a trade id as text; None stays None. Raises BadFrame bad_trade_id."""
    if value is None:
        return None
    found = value if isinstance(value, str) else whole(value)
    if found is None:
        raise BadFrame(place, f"is {type(value).__name__}", "bad_trade_id")
    text = str(found)
    if not text or len(text) > TRADE_ID_CHARS_MAX or CONTROL_CHARACTERS.search(text):
        raise BadFrame(place, "is empty, too long or holds control characters", "bad_trade_id")
    return text


def code(value: object, place: str) -> str:
    """Return a venue's short code as text. Raises BadFrame bad_conditions."""
    if not isinstance(value, str) or not CODE.fullmatch(value):
        raise BadFrame(place, f"{str(value)[:40]!r} is no code", "bad_conditions")
    return value


def symbol(value: object, place: str, pattern: re.Pattern[str]) -> str:
    """Return a venue's symbol if it is spelled like one. Raises BadFrame bad_ticker."""
    if value is None:
        raise BadFrame(place, "is missing", "missing_field")
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise BadFrame(place, f"{str(value)[:60]!r} is no symbol", "bad_ticker")
    return value

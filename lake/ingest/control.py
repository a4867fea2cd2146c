"""Control records: what the socket reader tells the writer, through the journal.

They are frames of the journal like any other, so that decoding is a function of the journal alone:
which connection spoke for a feed, and where a gap opened and closed, is read at the same place
every time. One JSON object a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import orjson

from lake.errors import Damaged

GapKind = Literal["disconnect", "silence", "restart", "overload", "id_hole", "loss"]


@dataclass(frozen=True, slots=True)
class Started:
    """A session of a feed begins: connections of an earlier one are up no more."""

    at_us: int
    kind: Literal["started"] = "started"


@dataclass(frozen=True, slots=True)
class Up:
    """A connection is subscribed and its data may come."""

    connection: int
    at_us: int
    tickers: tuple[str, ...] = ()
    kind: Literal["up"] = "up"


@dataclass(frozen=True, slots=True)
class GapOpened:
    """Nothing is known of a connection since from_us; it does not speak until it is up again."""

    connection: int
    reason: GapKind
    from_us: int
    detected_us: int
    kind: Literal["gap_opened"] = "gap_opened"


@dataclass(frozen=True, slots=True)
class GapClosed:
    """The gap whose opening record is frame gap_frame ended at to_us; filled names the datasets
    that the venue's history has refilled, joined by commas.
    """

    gap_frame: int
    to_us: int
    closed_us: int
    filled: str = ""
    kind: Literal["gap_closed"] = "gap_closed"


@dataclass(frozen=True, slots=True)
class GapFilled:
    """A backfill has taken in what the venue's history has of a gap.

    gap: its row of `feed_gaps` as it was, times in UTC microseconds; filled: the datasets that are
    whole now, joined by commas.
    """

    gap: dict[str, Any]
    filled: str
    at_us: int
    kind: Literal["gap_filled"] = "gap_filled"


@dataclass(frozen=True, slots=True)
class FramesLost:
    """Frames first to last (inclusive, of which this is the first) were acknowledged and are gone.

    feeds: those that the shard had; nothing is known of them from from_us to to_us.
    """

    first: int
    last: int
    feeds: tuple[str, ...]
    from_us: int
    to_us: int
    detected_us: int
    kind: Literal["frames_lost"] = "frames_lost"


@dataclass(frozen=True, slots=True)
class FrameLost:
    """Stands where one of the lost frames stood that FramesLost tells of."""

    kind: Literal["frame_lost"] = "frame_lost"


Control = Started | Up | GapOpened | GapClosed | GapFilled | FramesLost | FrameLost

HISTORY_CONNECTION = -1
"""Frames of a venue's history endpoint: only events with a key are taken from them."""

RELEASED_CONNECTION = -2
"""Frames that somebody let out of quarantine: nobody else says what they say."""


def dump(record: Control) -> bytes:
    """Return the record as one journal frame."""
    return orjson.dumps(asdict(record))


_KINDS: dict[str, Callable[..., Control]] = {
    "started": Started,
    "gap_opened": GapOpened,
    "gap_closed": GapClosed,
    "gap_filled": GapFilled,
    "frames_lost": FramesLost,
    "frame_lost": FrameLost,
}


def load(frame: bytes) -> Control:
    """Read a record back; raises Damaged for anything that dump() did not write."""
    try:
        fields = orjson.loads(frame)
        kind = fields.pop("kind")
        if kind == "up":
            return Up(fields["connection"], fields["at_us"], tuple(fields["tickers"]))
        return _KINDS[kind](**fields)
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise Damaged(
            "control record", f"{frame[:80]!r} is not one of ours", "which version wrote it?"
        ) from error

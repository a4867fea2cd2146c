"""Sentiment records, one JSON object a frame: asset, source, time, sentiment_score, confidence.

time is RFC 3339, or a whole number of epoch seconds or milliseconds. metadata becomes canonical
JSON text: keys sorted, no spaces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from lake.errors import BadFrame
from lake.feeds import decimals
from lake.feeds.codec import Decoded, Frames
from lake.feeds.events import (
    Event,
    Row,
    checked,
    decode_frames,
    parsed,
    rfc3339_us,
    symbol,
    time_us,
)
from lake.feeds.slices import whole_frame

NAME = re.compile(r"[A-Za-z0-9:._/-]{1,64}", re.ASCII)
NUL = re.compile(r"(?<!\\)(\\\\)*\\u0000")
"""PostgreSQL's jsonb can't hold the character that this escape stands for."""

MILLISECONDS_FROM = 10**11
"""An epoch number from here on is in milliseconds: as seconds it would be the year 5138."""


class SentimentCodec:
    """Decode sentiment records."""

    feed = "sentiment"
    version = 1
    ids_contiguous = False

    def decode(self, frames: Frames) -> Decoded:
        """Return every record of frames, classed; never raises for what a frame contains."""
        return decode_frames(frames, self.feed, self._events)

    def _events(self, raw: bytes, received_us: int) -> list[Event]:
        return [whole_frame(checked(self._record, parsed(raw), "$", received_us), raw)]

    def _record(self, event: Mapping[str, Any], received_us: int) -> Row:
        metadata = event.get("metadata")
        score = decimals.exact(event.get("sentiment_score"), "sentiment_score")
        confidence = decimals.exact(event.get("confidence"), "confidence")
        if not -1 <= score <= 1:
            raise BadFrame("sentiment_score", f"is {score:f}, outside -1 to 1", "out_of_range")
        if not 0 <= confidence <= 1:
            raise BadFrame("confidence", f"is {confidence:f}, outside 0 to 1", "out_of_range")
        return Row(
            "market_sentiment",
            {
                "asset": symbol(event.get("asset"), "asset", NAME),
                "source": symbol(event.get("source"), "source", NAME),
                "event_time": record_time_us(event.get("time"), received_us),
                "sentiment_score": score,
                "confidence": confidence,
                "metadata": None if metadata is None else _canonical(metadata),
            },
        )


def _canonical(metadata: object) -> str:
    try:
        json.dumps(metadata, allow_nan=False, ensure_ascii=False).encode()
        text = orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS).decode()
    except (TypeError, ValueError) as error:
        fault = "holds what JSON can't spell, or is nested too deep"
        raise BadFrame("metadata", fault, "bad_metadata") from error
    if NUL.search(text):
        raise BadFrame("metadata", "holds a NUL character", "bad_metadata")
    return text


def record_time_us(value: object, received_us: int) -> int:
    """Return a record's time as UTC microseconds; raises BadFrame."""
    if isinstance(value, str):
        return rfc3339_us(value, "time", received_us)
    seconds = isinstance(value, (int, float)) and value < MILLISECONDS_FROM
    return time_us(value, "time", received_us, unit_us=1_000_000 if seconds else 1000)

"""Sentiment records: scores within bounds, times in every usual unit, canonical metadata."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lake.feeds.codec import EVENT_BYTES_MAX, Decoded, frames_of
from lake.feeds.recording import open_recording
from lake.feeds.sentiment import SentimentCodec

RECORD: dict[str, Any] = {
    "asset": "BTC",
    "source": "news",
    "time": "2024-08-08T12:00:00.5Z",
    "sentiment_score": -0.25,
    "confidence": 0.9,
    "metadata": {"b": [1, 2], "a": "é"},
}
AT = datetime(2024, 8, 8, 12, 0, 0, 500_000, UTC)


def decode(*records: Any) -> Decoded:
    raw = [json.dumps(record).encode() for record in records]
    return SentimentCodec().decode(frames_of(raw, received_us=1_723_200_000_000_000))


def test_record_becomes_a_row_with_sorted_metadata() -> None:
    [row] = decode(RECORD).tables["market_sentiment"].to_pylist()
    assert (row["asset"], row["source"], row["event_time"]) == ("BTC", "news", AT)
    assert (row["sentiment_score"], row["confidence"]) == (Decimal("-0.25"), Decimal("0.9"))
    assert row["metadata"] == '{"a":"é","b":[1,2]}'


@pytest.mark.parametrize(
    "time", ["2024-08-08T14:00:00.500+02:00", 1_723_118_400_500, 1_723_118_400_500.0]
)
def test_time_may_be_text_or_epoch_milliseconds(time: Any) -> None:
    [row] = decode(RECORD | {"time": time}).tables["market_sentiment"].to_pylist()
    assert row["event_time"] == AT


def test_time_may_be_epoch_seconds() -> None:
    [row] = decode(RECORD | {"time": 1_723_118_400}).tables["market_sentiment"].to_pylist()
    assert row["event_time"] == AT.replace(microsecond=0)


def test_escape_of_nul_is_told_from_its_spelling() -> None:
    spelled = decode(RECORD | {"metadata": {"note": "\\u0000"}})
    assert spelled.tables["market_sentiment"].num_rows == 1
    real = decode(RECORD | {"metadata": {"note": "\\\x00"}})
    assert real.quarantine["reason"].to_pylist() == ["bad_metadata"]


@pytest.mark.parametrize(
    "metadata",
    ["[NaN]", '"\\ud800"', "[1e400]", '{"a":' + "1" * 400 + "}", "[" * 260 + "]" * 260],
)
def test_metadata_that_json_can_t_hold_is_refused_and_kept(metadata: str) -> None:
    raw = json.dumps(RECORD | {"metadata": "here"}).replace('"here"', metadata).encode()
    decoded = SentimentCodec().decode(frames_of([raw], received_us=1_723_200_000_000_000))
    [row] = decoded.quarantine.to_pylist()
    assert row["raw"] == raw
    assert row["reason"] in ("bad_metadata", "too_deep")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sentiment_score": 1.01}, "out_of_range"),
        ({"sentiment_score": -1.01}, "out_of_range"),
        ({"sentiment_score": None}, "missing_field"),
        ({"sentiment_score": "NaN"}, "not_a_number"),
        ({"confidence": -0.1}, "out_of_range"),
        ({"confidence": 1.1}, "out_of_range"),
        ({"asset": "BTC'; --"}, "bad_ticker"),
        ({"source": None}, "missing_field"),
        ({"time": "2024-08-08"}, "bad_time"),
        ({"time": 1_723_118_400_500_000}, "time_in_future"),
        ({"time": 0}, "time_too_early"),
        ({"time": [1]}, "bad_time"),
        ({"metadata": "m" * EVENT_BYTES_MAX}, "too_large"),
    ],
)
def test_bad_record_is_quarantined_and_its_neighbours_stored(
    changes: dict[str, Any], reason: str
) -> None:
    decoded = decode(RECORD, RECORD | changes, RECORD)
    assert decoded.quarantine["reason"].to_pylist() == [reason]
    assert decoded.tables["market_sentiment"]["seq"].to_pylist() == [1 << 16, 3 << 16]


def test_recorded_records_are_received_at_their_own_time(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text(json.dumps(RECORD) + "\n\nnot json\n")
    found = open_recording(path)
    assert found.feed == "sentiment"
    [batch] = found.batches()
    assert batch == [
        (int(AT.timestamp() * 1_000_000), json.dumps(RECORD).encode()),
        (0, b"not json"),
    ]

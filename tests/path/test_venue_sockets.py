"""Each venue's own protocol on a loopback socket: what was recorded of it is stored once.

The wire is the venue's (orders, confirmations, frames as recorded); the cut in the middle must be a
recorded gap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lake.feeds.codec import frames_of
from lake.feeds.recording import open_recording
from lake.ingest.codecs import codecs
from tests.path.market import Home
from tests.path.venue_socket import VenueSocket

FRAMES_MAX = 4_000
OURS = ("received_time", "shard", "seq")
"""Columns that are about the receipt, not about the event."""

RECORDED = [
    ("coinbase", "venue_captures/COINBASE.ws.28.0.gz", "coinbase", True),
    ("kraken", "venue_captures/KRAKEN.ws.48.0.gz", "kraken", False),
    ("binance", "binance_frames/spot_btcusdt_20230405.dat.gz", "binance.spot", True),
]


@pytest.fixture
def home(migrated_dsn: str, tmp_path: Path) -> Iterator[Home]:
    home = Home(migrated_dsn, tmp_path / "home")
    yield home
    home.close()


def recorded(path: Path) -> list[bytes]:
    """Return the first frames of a recording."""
    batches = open_recording(path).batches()
    return [raw for batch in batches for _, raw in batch][:FRAMES_MAX]


def events(rows: list[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
    """Return the events, each as often as it is there, without what is about their receipt."""
    names = sorted(rows[0].keys() - {*OURS, *(("event_time",) if ours(rows[0]) else ())})
    return Counter(tuple(row[name] for name in names) for row in rows)


def ours(row: dict[str, Any]) -> bool:
    """Tell whether a row's time is that of its receipt."""
    return bool(row.get("event_time_source") == "received")


@pytest.mark.parametrize(("venue", "file", "feed", "numbered"), RECORDED)
def test_recorded_frames_over_the_venue_s_protocol_are_stored_once_and_the_cut_is_a_gap(
    home: Home, data_dir: Path, venue: str, file: str, feed: str, numbered: bool
) -> None:
    frames = recorded(data_dir / file)
    codec = codecs()[feed]
    decoded = codec.decode(frames_of(frames))
    wanted = {name: table.to_pylist() for name, table in decoded.tables.items() if table.num_rows}
    trades = wanted.pop("crypto_trades", [])
    numbers = {row["seq"] >> 16 for row in trades} if numbered else set()
    again = {frame for number, frame in enumerate(frames, 1) if number in numbers}
    once = {row["trade_id"] or row["seq"]: row for row in trades}
    if once:
        wanted["crypto_trades"] = list(once.values())
    tickers = sorted({row["ticker"] for rows in wanted.values() for row in rows})
    quotes = len(wanted.get("crypto_quotes", []))
    done = (
        f"SELECT (SELECT count(*) FROM crypto_trades) >= {len(once)}"
        f" AND (SELECT count(*) FROM crypto_quotes) >= {quotes}"
        " AND (SELECT count(*) > 0 AND count(*) = count(gap_to) FROM feed_gaps"
        " WHERE kind = 'disconnect')"
    )
    with VenueSocket(venue, frames, again) as socket:
        ended = home.ingest_until(done, venue, "--url", socket.url, "--tickers", ",".join(tickers))
        assert socket.connections >= 2
        assert socket.repeated > 0 or not again
    assert ended.code == 0, ended.err
    for dataset, rows in wanted.items():
        assert events(home.rows(f"FROM {dataset}").to_dicts()) == events(rows)
    gaps = [gap for gap in home.gaps() if gap["kind"] == "disconnect"]
    assert len(gaps) == 1
    assert gaps[0]["gap_from"] < gaps[0]["gap_to"] <= gaps[0]["closed_time"]
    home.assert_verified()

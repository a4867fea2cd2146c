"""Design 3.1, 3.3: a real socket through journal and hot tier to the lake, while all is well."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.path.market import Home, Market, assert_each_once, interrupted, keys, missing


@pytest.fixture
def home(migrated_dsn: str, tmp_path: Path) -> Iterator[Home]:
    home = Home(migrated_dsn, tmp_path / "home")
    yield home
    home.close()


EVENTS = 1_500
STORED = "(SELECT count(*) FROM crypto_trades) + (SELECT count(*) FROM crypto_quotes)"
ALL_STORED = f"SELECT {STORED} >= {EVENTS}"


def test_what_was_sent_is_stored_once_and_in_its_order(home: Home, tmp_path: Path) -> None:
    with Market(tmp_path, rate=1_000, events=EVENTS, start_when_subscribed=True) as market:
        done = home.ingest_until(ALL_STORED, "sim", "--url", market.url)
    assert done.code == 0, done.err
    stored = home.stored()
    assert keys(stored) == keys(market.sent)
    assert home.gaps() == []
    assert home.assert_verified() > EVENTS


def test_two_connections_store_each_event_once(home: Home, tmp_path: Path) -> None:
    with Market(tmp_path, rate=1_000) as market:
        many = f"SELECT count(*) > {EVENTS} FROM crypto_quotes"
        done = home.ingest_until(many, "sim", "--url", market.url, "--connections", "2")
    assert done.code == 0, done.err
    stored = home.stored()
    assert home.gaps() == []
    assert_each_once(stored)
    assert missing(market.sent, stored).is_empty()
    home.assert_verified()


def test_duplicates_and_poison_cost_nothing_else(home: Home, tmp_path: Path) -> None:
    faults = {"duplicates": 0.2, "poison": 0.2, "late": 0.1, "late_s": 0.3}
    options = {"rate": 1_000, "events": EVENTS, "start_when_subscribed": True, **faults}
    with Market(tmp_path, **options) as market:
        done = home.ingest_until(ALL_STORED, "sim", "--url", market.url)
    assert done.code == 0, done.err
    stored = home.stored()
    assert_each_once(stored)
    assert missing(market.sent, stored).is_empty()
    reasons = home.rows(
        "SELECT reason, count(*) AS n, min(octet_length(raw)) FROM quarantine GROUP BY ALL"
    )
    assert len(reasons) >= 5
    home.assert_verified()
    assert said_at_the_end(done.out) == home.rows(
        "SELECT sum(frames)::bigint, sum(events)::bigint, sum(stored)::bigint,"
        " sum(duplicate)::bigint, sum(quarantined)::bigint, sum(ignored)::bigint"
        " FROM ingest_batches"
    ).row(0)


def said_at_the_end(out: str) -> tuple[int, ...]:
    """Return the numbers of frames and events in an ingest's closing line."""
    line = next(line for line in out.splitlines() if line.startswith("shard "))
    return tuple(int(found.replace(",", "")) for found in re.findall(r"\d[\d,]*(?= )", line))


def test_until_end_leaves_a_live_feed_when_the_replay_has_ended(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    record = {"asset": "BTC", "source": "news", "sentiment_score": 0.5, "confidence": 1}
    lines = [json.dumps(record | {"time": 1_700_000_000 + n}) for n in range(50)]
    path.write_text("\n".join(lines) + "\n")
    with Market(tmp_path, rate=500) as market:
        words = ("sim", f"replay:{path}", "--url", market.url)
        staying = home.start("ingest", *words, "--speed", "max")
        assert home.shows("SELECT count(*) = 50 FROM lake.market_sentiment")
        assert home.shows("SELECT count(*) > 0 FROM crypto_trades")
        assert staying.poll() is None
        assert interrupted(staying).code == 0
        done = home.ingest(*words, "--speed", "max", "--until-end")
    assert done.code == 0, done.err
    assert home.rows("SELECT count(*) FROM market_sentiment").item() == 50
    assert_each_once(home.stored())
    home.assert_verified()

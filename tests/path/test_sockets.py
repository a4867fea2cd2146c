"""Design 3.1, 3.3: a real socket through journal and hot tier to the lake, while all is well."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.path.market import Home, Market, assert_each_once, keys, missing


@pytest.fixture
def home(migrated_dsn: str, tmp_path: Path) -> Iterator[Home]:
    home = Home(migrated_dsn, tmp_path / "home")
    yield home
    home.close()


def test_what_was_sent_is_stored_once_and_in_its_order(home: Home, tmp_path: Path) -> None:
    with Market(tmp_path, rate=1_000, events=1_500, start_when_subscribed=True) as market:
        done = home.ingest("sim", "--url", market.url, "--for", "3s")
    assert done.code == 0, done.err
    stored = home.stored()
    assert keys(stored) == keys(market.sent)
    assert home.gaps() == []
    assert home.assert_verified() > 1_500


def test_two_connections_store_each_event_once(home: Home, tmp_path: Path) -> None:
    with Market(tmp_path, rate=1_000) as market:
        done = home.ingest("sim", "--url", market.url, "--for", "3s", "--connections", "2")
    assert done.code == 0, done.err
    stored = home.stored()
    assert home.gaps() == []
    assert_each_once(stored)
    assert missing(market.sent, stored).is_empty()
    home.assert_verified()


def test_duplicates_and_poison_cost_nothing_else(home: Home, tmp_path: Path) -> None:
    faults = {"duplicates": 0.2, "poison": 0.2, "late": 0.1, "late_s": 0.3}
    options = {"rate": 1_000, "events": 1_500, "start_when_subscribed": True, **faults}
    with Market(tmp_path, **options) as market:
        done = home.ingest("sim", "--url", market.url, "--for", "3s")
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
        "SELECT sum(events)::bigint, sum(stored)::bigint,"
        " sum(duplicate)::bigint, sum(quarantined)::bigint, sum(ignored)::bigint"
        " FROM ingest_batches"
    ).row(0)


def said_at_the_end(out: str) -> tuple[int, ...]:
    """Return the numbers of events in an ingest's closing line."""
    line = next(line for line in out.splitlines() if line.startswith("shard "))
    events = line.partition("journalled; ")[2]
    return tuple(int(found.replace(",", "")) for found in re.findall(r"\d[\d,]*(?= )", events))

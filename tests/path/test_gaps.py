"""Design 3.8: what was missed is in the book of gaps, and refilled where the venue can."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.exchange.options import Silence
from tests.path.market import (
    CLOSED,
    Home,
    Market,
    assert_each_once,
    interrupted,
    missing,
    transit_us,
    within,
)

DETECTED_US_MAX = 5_000_000

TRADED = "SELECT count(*) > 0 FROM crypto_trades"
OPEN = "SELECT count(*) = 1 FROM feed_gaps WHERE gap_to IS NULL"
ALL_CLOSED = CLOSED.format(0)
SILENCE_MS = 2_000
QUIET_S = 6.0


@pytest.fixture
def home(migrated_dsn: str, tmp_path: Path) -> Iterator[Home]:
    home = Home(migrated_dsn, tmp_path / "home")
    yield home
    home.close()


def assert_missing_is_on_record(home: Home, market: Market) -> None:
    """Assert what a lossy connection owes: trades refilled, quotes missing inside gaps only."""
    stored = home.stored()
    assert_each_once(stored)
    gone = missing(market.sent, stored)
    assert gone.filter("trade").is_empty()
    assert within(gone, home.gaps(), transit_us(market.sent, stored)).all()
    home.assert_verified()


def test_cut_connections_leave_closed_gaps_and_whole_trades(home: Home, tmp_path: Path) -> None:
    with Market(tmp_path, rate=1_000, cut_every_s=0.4, seed=2) as market:
        done = home.ingest_until(CLOSED.format(3), "sim", "--url", market.url)
    assert done.code == 0, done.err
    gaps = home.gaps()
    for gap in gaps:
        assert gap["kind"] == "disconnect"
        assert 0 <= gap["detected_time"] - gap["gap_from"] < DETECTED_US_MAX
    closed = [gap for gap in gaps if gap["gap_to"] is not None]
    assert len(closed) > 3
    for gap in closed:
        assert gap["gap_from"] < gap["gap_to"] <= gap["closed_time"]
        assert gap["filled"] == "crypto_trades,crypto_aggregates"
    assert_missing_is_on_record(home, market)


def test_two_connections_that_are_cut_in_turn_speak_for_each_other(
    home: Home, tmp_path: Path
) -> None:
    with Market(tmp_path, rate=1_000, cut_every_s=0.5, seed=1) as market:
        both = "SELECT count(DISTINCT connection) = 2 FROM feed_gaps"
        done = home.ingest_until(both, "sim", "--url", market.url, "--connections", "2")
    assert done.code == 0, done.err
    assert {gap["connection"] for gap in home.gaps()} == {0, 1}
    assert_missing_is_on_record(home, market)


def test_a_silence_is_a_gap_and_what_happened_in_it_is_refilled(home: Home, tmp_path: Path) -> None:
    home.settings["TICKLAKE_SILENCE_MS_MAX"] = str(SILENCE_MS)
    quiet = (Silence(at_s=1.0, for_s=QUIET_S),)
    options = {"rate": 1_000, "silences": quiet, "start_when_subscribed": True, "first_id": 1}
    with Market(tmp_path, **options) as market:
        done = home.ingest_until(ALL_CLOSED, "sim", "--url", market.url)
    assert done.code == 0, done.err
    [gap] = home.gaps()
    assert gap["kind"] == "silence"
    lasted_us = gap["gap_to"] - gap["gap_from"]
    assert lasted_us >= (QUIET_S - 0.1) * 1e6
    # while it lasts, and not before it is one
    assert (SILENCE_MS - 100) * 1e3 < gap["detected_time"] - gap["gap_from"] < lasted_us
    assert gap["filled"] == "crypto_trades,crypto_aggregates"
    holes = home.rows(
        "SELECT count(*) - (max(trade_id::bigint) - min(trade_id::bigint) + 1) AS missing"
        " FROM crypto_trades GROUP BY ticker, exchange"
    )
    assert set(holes["missing"]) == {0}
    home.assert_verified()


def test_a_venue_that_answers_no_more_is_a_gap_within_five_seconds(
    home: Home, tmp_path: Path
) -> None:
    sim = home.start("sim", "--port", "0", "--rate", "500")
    assert sim.stderr is not None
    assert "listening on" in sim.stderr.readline()
    ingest = home.start("ingest", "sim")
    assert home.shows(TRADED)
    waited_us = -kept_waiting_us(ingest.pid)
    os.kill(sim.pid, signal.SIGSTOP)
    assert home.shows(OPEN)
    waited_us += kept_waiting_us(ingest.pid)
    os.kill(sim.pid, signal.SIGCONT)
    assert home.shows(ALL_CLOSED)
    assert interrupted(ingest).code == 0
    [gap] = home.gaps()
    assert gap["kind"] == "silence"
    assert gap["detected_time"] - gap["gap_from"] < DETECTED_US_MAX + waited_us
    home.assert_verified()


def kept_waiting_us(pid: int) -> int:
    """Return how long a process could run and got no core so far; 0 where the kernel counts none.

    That is the machine's delay, and none of ours.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) // 1_000
    except OSError:
        return 0


def test_a_restart_opens_a_gap_where_the_last_session_ended(home: Home, tmp_path: Path) -> None:
    with Market(tmp_path, rate=1_000) as market:
        assert home.ingest_until(TRADED, "sim", "--url", market.url).code == 0
        heard_us = home.stored()["received_us"].max()
        assert home.gaps() == []
        assert home.ingest_until(ALL_CLOSED, "sim", "--url", market.url).code == 0
    [gap] = home.gaps()
    assert gap["kind"] == "restart"
    assert gap["gap_from"] == heard_us
    assert gap["gap_to"] is not None
    assert gap["filled"] == "crypto_trades,crypto_aggregates"
    assert_missing_is_on_record(home, market)


def test_a_session_that_ends_in_a_gap_leaves_it_to_the_next(home: Home, tmp_path: Path) -> None:
    with Market(tmp_path, rate=1_000) as market:
        ingest = home.start("ingest", "sim", "--url", market.url)
        assert home.shows(TRADED)
    assert home.shows(OPEN)
    assert interrupted(ingest).code == 0
    [gap] = home.gaps()
    assert (gap["kind"], gap["gap_to"]) == ("disconnect", None)
    (tmp_path / "again").mkdir()
    with Market(tmp_path / "again", rate=1_000) as again:
        assert home.ingest_until(ALL_CLOSED, "sim", "--url", again.url).code == 0
    gaps = home.gaps()
    assert [gap["kind"] for gap in gaps] == ["disconnect", "restart"]
    assert gaps[0]["gap_from"] == gaps[1]["gap_from"]
    assert gaps[0]["gap_to"] == gaps[1]["gap_to"] is not None

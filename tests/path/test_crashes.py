"""Design 3.1, 3.3: an ingest killed anywhere loses nothing that a gap does not name."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infra.servers.process import wait_until
from lake.clock import SystemClock
from lake.errors import Unavailable
from lake.journal.journal import lock
from tests.path.market import (
    NEVER_S,
    Home,
    Market,
    assert_each_once,
    ended,
    interrupted,
    missing,
    transit_us,
    within,
)

KILLED = -signal.SIGKILL
DRAINED_S_MAX = 60.0
TRADED = "SELECT count(*) > 0 FROM crypto_trades"


@pytest.fixture
def home(migrated_dsn: str, tmp_path: Path) -> Iterator[Home]:
    home = Home(migrated_dsn, tmp_path / "home")
    yield home
    home.close()


def assert_restarts_cover_what_was_lost(home: Home, market: Market) -> None:
    """Assert that gaps begin where the last durable frame was heard, and that all else is there."""
    stored = home.stored()
    gaps = home.gaps()
    assert {gap["kind"] for gap in gaps} == {"restart"}
    for gap in gaps:
        before = stored.filter(stored["seq"] < gap["gap_id"])
        assert gap["gap_from"] <= before["received_us"].max()
        assert gap["gap_to"] is not None
    assert gaps[0]["gap_from"] > stored["received_us"][0]
    assert_each_once(stored)
    gone = missing(market.sent, stored)
    assert gone.filter("trade").is_empty()
    assert within(gone, gaps, transit_us(market.sent, stored)).all()
    home.assert_verified()


def test_kill_9_at_each_step_of_the_way_in(home: Home, tmp_path: Path) -> None:
    steps = ["frame.read=kill@40", "journal.write=kill@5", "journal.fsync=kill@5"]
    steps += ["journal.published=kill@5", "frame.read=kill@1", "journal.write=kill@1"]
    with Market(tmp_path, rate=1_000) as market:
        assert home.ingest_until(TRADED, "sim", "--url", market.url).code == 0
        for faults in steps:
            killed = home.ingest("sim", "--url", market.url, "--for", NEVER_S, faults=faults)
            assert killed.code == KILLED, faults
        assert home.ingest_until_refilled(market.url).code == 0
    assert_restarts_cover_what_was_lost(home, market)


def test_kill_9_of_the_mover_ends_the_ingest_and_the_next_one_goes_on(
    home: Home, tmp_path: Path
) -> None:
    with Market(tmp_path, rate=1_000) as market:
        ingest = home.start("ingest", "sim", "--url", market.url)
        assert home.shows(TRADED)
        os.kill(mover_of(home), signal.SIGKILL)
        done = ended(ingest)
        assert done.code == 1
        assert done.sentence == ("ticklake: mover: ended with -9: start ingest again: it recovers")
        assert home.ingest_until_refilled(market.url).code == 0
    assert_restarts_cover_what_was_lost(home, market)


def test_the_mover_drains_after_its_ingest_was_killed(home: Home, tmp_path: Path) -> None:
    with Market(tmp_path, rate=1_000) as market:
        ingest = home.start("ingest", "sim", "--url", market.url)
        assert home.shows(TRADED)
        mover = mover_of(home)
        ingest.kill()
        assert ended(ingest).code == KILLED
        gone = Path(f"/proc/{mover}/cmdline")
        assert wait_until(SystemClock(), lambda: not gone.exists(), DRAINED_S_MAX)
    assert_each_once(home.stored())
    assert missing(market.sent, home.stored()).is_empty()
    home.assert_verified()


def test_an_interrupt_drains_and_ends_well(home: Home, tmp_path: Path) -> None:
    with Market(tmp_path, rate=1_000) as market:
        ingest = home.start("ingest", "sim", "--url", market.url)
        assert home.shows(TRADED)
        assert interrupted(ingest).code == 0
    assert missing(market.sent, home.stored()).is_empty()
    home.assert_verified()


def test_a_second_interrupt_breaks_the_drain_off_and_the_next_ingest_goes_on(
    home: Home, tmp_path: Path
) -> None:
    with Market(tmp_path, rate=1_000) as market:
        ingest = home.start("ingest", "sim", "--url", market.url)
        assert home.shows(TRADED)
        os.kill(mover_of(home), signal.SIGSTOP)
        ingest.send_signal(signal.SIGINT)
        assert wait_until(SystemClock(), lambda: drains(home), DRAINED_S_MAX)
        assert ingest.poll() is None
        done = interrupted(ingest)
        assert done.code == 1
        assert "drain: broken off by a second signal" in done.sentence
        assert home.ingest_until_refilled(market.url).code == 0
    assert_restarts_cover_what_was_lost(home, market)


def drains(home: Home) -> bool:
    """Tell whether the ingest of shard 0 has let go of its journal: it takes in nothing more."""
    try:
        os.close(lock(home.path / "journal" / "shard-0"))
    except Unavailable:
        return False
    return True


def mover_of(home: Home) -> int:
    """Return the process id of the mover that owns shard 0."""
    with psycopg.connect(home.dsn) as connection:
        row = connection.execute("SELECT pid FROM market.leases WHERE name = 'shard-0'").fetchone()
    assert row is not None
    return int(row[0])

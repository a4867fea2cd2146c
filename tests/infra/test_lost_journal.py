"""A journal that is gone takes what was only in it, and the book of gaps says so; nothing else."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest

from infra.recovery.backup import backup_now
from infra.recovery.places import place_of, wanted
from infra.recovery.restore import restore_to
from infra.servers import embedded
from infra.servers.process import wait_until
from lake.clock import SystemClock
from lake.journal.journal import Journal
from lake.journal.reader import JournalReader
from lake.journal.segment import segments
from lake.settings import MEBIBYTE, Settings
from lake.state import postgres_dsn
from lake.verify.verify import verify

CLOCK = SystemClock()
STEP_S_MAX = 120.0
TRADES = 300
"""Of each ingest, at least."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Return an archived home with an exchange; its servers end with the test."""
    path = (tmp_path / "home").resolve()
    settings = Settings(home=path, backup=str(tmp_path / "backup"))
    words = ["sim", "--rate", "500", "--port", "0", "--for", "2h", "--home", str(path)]
    exchange: subprocess.Popen[bytes] | None = None
    try:
        embedded.up(path, backup=wanted(settings))
        exchange = subprocess.Popen([sys.executable, "-m", "infra.command.main", *words])
        assert wait_until(CLOCK, (path / "run" / "sim.json").exists, STEP_S_MAX)
        yield path
    finally:
        if exchange is not None:
            exchange.terminate()
            exchange.wait()
        embedded.down(path)


def ingest(home: Path) -> None:
    """Take in so many trades more, and end in order."""
    words = [sys.executable, "-m", "infra.command.main", "ingest", "sim", "--home", str(home)]
    wanted = stored(home) + TRADES
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    enough = wait_until(CLOCK, lambda: stored(home) >= wanted, STEP_S_MAX)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=STEP_S_MAX)
    assert enough, said
    assert process.returncode == 0, said


def stored(home: Path) -> int:
    """Return how many trades the hot tier holds."""
    (count,) = one(home, "SELECT count(*) FROM market.crypto_trades")
    assert isinstance(count, int)
    return count


def one(home: Path, query: str) -> list[object]:
    with psycopg.connect(postgres_dsn(home)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return list(connection.execute(query.encode()).fetchone() or ())


LAST = (
    "SELECT last_frame, (SELECT max(committed_time) FROM market.ingest_batches) FROM market.shards"
)
GAP = "SELECT kind, gap_from FROM market.feed_gaps WHERE gap_id > {} ORDER BY gap_id, seq LIMIT 1"


def test_what_a_restore_took_and_no_journal_gives_back_is_a_gap(home: Path) -> None:
    ingest(home)
    server = embedded.postgres_of(home, CLOCK)
    backup_now(postgres_dsn(home), place_of(home), server, CLOCK)
    moment = datetime.fromtimestamp(CLOCK.now_us() / 1e6, UTC)
    frames, stored_at = one(home, LAST)
    ingest(home)
    restore_to(home, moment, place_of(home), partial(embedded.postgres_of, home, CLOCK), CLOCK)
    shutil.rmtree(home / "journal" / "shard-0")
    embedded.up(home)
    assert [fault for fault in verify(home).faults if "they are lost" in str(fault)]
    assert isinstance(frames, int)
    assert one(home, LAST)[0] == frames
    for _ in range(2):  # as many frames again as were lost
        ingest(home)
    kind, since = one(home, GAP.format(frames << 16))
    assert isinstance(stored_at, datetime)
    assert kind == "restart"
    assert since == stored_at - timedelta(seconds=10)
    last = one(home, LAST)[0]
    assert isinstance(last, int)
    assert last > frames
    report = verify(home)
    assert report.holds, [str(fault) for fault in report.faults]


def test_frames_after_a_lost_journal_get_numbers_that_are_read(home: Path) -> None:
    ingest(home)
    frames, _ = one(home, LAST)
    shutil.rmtree(home / "journal" / "shard-0")
    ingest(home)
    assert isinstance(frames, int)
    assert one(home, GAP.format(frames << 16))[0] == "restart"
    last = one(home, LAST)[0]
    assert isinstance(last, int)
    assert last > frames


@pytest.mark.parametrize("kept", [0, 3])
def test_a_journal_goes_on_after_what_is_stored(tmp_path: Path, kept: int) -> None:
    def opened(stored: int | None = None) -> Journal:
        return Journal(
            tmp_path, 0, segment_bytes_max=MEBIBYTE, bytes_max=MEBIBYTE * 8, stored=stored
        )

    if kept:
        with closing(opened()) as journal:
            journal.append("sim", 0, [b"{}"] * kept, [1] * kept)
            journal.flush()
    with closing(opened(stored=7)) as journal:
        assert journal.next_frame == 8
        assert journal.append("sim", 0, [b'{"a":1}'], [2]) == 8
        journal.flush()
    with closing(JournalReader(tmp_path, 0)) as reader:
        assert reader.durable() == 8
        (found,) = reader.read(8, frames_max=10, bytes_max=MEBIBYTE)
        assert list(found.frames) == [b'{"a":1}']
    with closing(opened(stored=8)) as journal:
        assert journal.next_frame == 9


def test_numbers_of_frames_whose_segments_are_gone_are_not_given_again(tmp_path: Path) -> None:
    opened = partial(Journal, tmp_path, 0, segment_bytes_max=MEBIBYTE, bytes_max=MEBIBYTE * 8)
    with closing(opened()) as journal:
        journal.append("sim", 0, [b"{}"] * 3, [1] * 3)
        journal.flush()
    for each in segments(tmp_path):
        each.path.unlink()
    with closing(opened(stored=1)) as journal:
        assert journal.next_frame == 4
        assert journal.recovery.lost_frames == 2
    with closing(JournalReader(tmp_path, 0)) as reader:
        assert reader.durable() == 3

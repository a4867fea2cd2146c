"""Frames that were acknowledged and are gone are said, and can be accepted as a gap on record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from lake.clock import SystemClock
from lake.errors import Unavailable
from lake.ingest.loss_to_journal import accept_loss
from lake.journal import block, segment
from lake.verify.report import Report
from lake.verify.verify import verify
from tests.path.lakehouse import NOW_MS, Lakehouse, stream

LOSS = (
    "SELECT feed, first_missing, last_missing, gap_from = to_timestamp(%s),"
    " gap_to = to_timestamp(%s), closed_time IS NOT NULL, filled"
    " FROM market.feed_gaps WHERE kind = 'loss'"
)


@pytest.fixture
def lakehouse(migrated_dsn: str, tmp_path: Path) -> Lakehouse:
    return Lakehouse(migrated_dsn, tmp_path)


def remove(middle: Path) -> None:
    middle.unlink()


def damage(middle: Path) -> None:
    """Turn a bit of the second of three blocks."""
    blocks = list(segment.raw_blocks(middle))
    raw = bytearray(middle.read_bytes())
    raw[segment.HEADER.size + len(blocks[0]) + block.HEADER.size + 9] ^= 1
    middle.write_bytes(raw)


def proven(lakehouse: Lakehouse, *, full: bool = False) -> Report:
    journal = lakehouse.folder / "journal"
    return verify(dsn=lakehouse.dsn, journal=journal, warehouse=lakehouse.place, full=full)


@pytest.mark.parametrize(
    ("lose", "first", "last"), [(remove, 12, 17), (damage, 14, 15)], ids=["removed", "damaged"]
)
def test_a_loss_that_is_accepted_is_a_gap_and_the_shard_goes_on(
    lakehouse: Lakehouse, lose: Callable[[Path], None], first: int, last: int
) -> None:
    lakehouse.journal(stream(0, 10))
    assert lakehouse.move() == 0
    lakehouse.journal(stream(10, 2), stream(12, 2), stream(14, 2), up=False)
    lakehouse.journal(stream(16, 4), up=False)
    lose(segment.segments(lakehouse.journal_folder)[1].path)
    lost = last - first + 1
    for full in (False, True):
        report = proven(lakehouse, full=full)
        assert (report.frames_lost, report.frames_waiting) == (lost, 10 - lost)
        (fault,) = report.faults
        assert f"shard 0 frames {first} to {last} lost" in str(fault)
    assert lakehouse.move() != 0

    with psycopg.connect(lakehouse.dsn, autocommit=True) as connection:
        journals = lakehouse.folder / "journal"
        (loss,) = accept_loss(connection, journals, SystemClock())
        assert (loss.first, loss.last, loss.feeds) == (first, last, ("sim",))
        assert accept_loss(connection, journals, SystemClock()) == []
        assert proven(lakehouse).frames_waiting == 10
        assert lakehouse.move() == 0
        moment = NOW_MS / 1000
        rows = connection.execute(LOSS.encode(), (moment, moment)).fetchall()

    assert rows == [("sim", str(first), str(last), True, True, True, None)]
    lakehouse.assert_whole()
    assert len(lakehouse.stored("crypto_trades")) == 3 * (20 - lost)
    for full in (False, True):
        report = proven(lakehouse, full=full)
        assert report.holds, str(report)
        assert report.frames_waiting == 0


def test_a_loss_is_not_accepted_under_a_running_ingest(lakehouse: Lakehouse) -> None:
    journal = lakehouse.open_journal()
    try:
        with (
            psycopg.connect(lakehouse.dsn) as connection,
            pytest.raises(Unavailable, match="another process appends"),
        ):
            accept_loss(connection, lakehouse.folder / "journal", SystemClock())
    finally:
        journal.close()

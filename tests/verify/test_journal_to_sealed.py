"""Design 3.9: a journal segment goes only when the lake holds it and its ledger is sealed."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from lake.clock import SystemClock
from lake.ingest.codecs import codecs
from lake.journal.segment import segments
from lake.verify.journal_to_sealed import Sealed, seal_due
from lake.verify.verify import verify
from tests.path.lakehouse import Lakehouse, stream


@pytest.fixture
def lakehouse(migrated_dsn: str, tmp_path: Path) -> Lakehouse:
    lakehouse = Lakehouse(migrated_dsn, tmp_path)
    for start in range(0, 60, 20):
        lakehouse.journal(stream(start, 20), up=start == 0)
        assert lakehouse.move() == 0
    return lakehouse


def seal(lakehouse: Lakehouse, keep_hours: float = 0) -> list[Sealed]:
    with psycopg.connect(lakehouse.dsn, autocommit=True) as connection:
        return seal_due(
            connection,
            lakehouse.dsn,
            lakehouse.folder / "journal",
            codecs(),
            SystemClock(),
            keep_hours=keep_hours,
        )


def test_proven_segments_go_sealed_and_verify_still_holds(lakehouse: Lakehouse) -> None:
    assert [each.reason for each in seal(lakehouse)] == ["", ""]
    assert len(segments(lakehouse.journal_folder)) == 1
    with psycopg.connect(lakehouse.dsn) as connection:
        seals = connection.execute(
            "SELECT first_frame, last_frame, frames, events FROM market.sealed_segments ORDER BY 1"
        ).fetchall()
    assert seals == [(1, 21, 21, 101), (22, 41, 20, 100)]
    assert verify(dsn=lakehouse.dsn, journal=lakehouse.folder / "journal").holds
    assert verify(dsn=lakehouse.dsn, journal=lakehouse.folder / "journal", full=True).holds
    lakehouse.journal(stream(60, 5), up=False)
    assert lakehouse.move() == 0
    assert verify(dsn=lakehouse.dsn, journal=lakehouse.folder / "journal", full=True).holds


def test_a_young_segment_stays(lakehouse: Lakehouse) -> None:
    assert seal(lakehouse, keep_hours=1) == []


def test_a_segment_whose_ledger_was_changed_stays_with_the_reason(lakehouse: Lakehouse) -> None:
    with psycopg.connect(lakehouse.dsn) as connection:
        connection.execute(
            "UPDATE market.ledger_minutes SET digest = digest + 1"
            " WHERE dataset = 'crypto_trades' AND first_frame = 1"
        )
    (kept,) = seal(lakehouse)
    assert not kept.deleted
    assert "crypto_trades" in kept.reason


def test_a_segment_that_the_lake_does_not_hold_stays(lakehouse: Lakehouse) -> None:
    with psycopg.connect(lakehouse.dsn) as connection:
        connection.execute("DELETE FROM iceberg_tables WHERE table_name = 'crypto_quotes'")
    (kept,) = seal(lakehouse)
    assert kept.reason == "not yet in the lake: crypto_quotes"


def test_a_segment_taken_away_keeps_no_later_one_from_being_sealed(lakehouse: Lakehouse) -> None:
    segments(lakehouse.journal_folder)[0].path.unlink()

    assert [each.reason for each in seal(lakehouse)] == [""]

    with psycopg.connect(lakehouse.dsn) as connection:
        seals = connection.execute("SELECT first_frame, last_frame FROM market.sealed_segments")
        assert seals.fetchall() == [(22, 41)]

"""`verify` decodes the journal's frames again and finds what a mover got wrong consistently."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import psycopg
import pytest

from lake import ledger
from lake.ingest import control
from lake.ingest.batch import BatchBuilder, BatchLedger
from lake.ingest.codecs import codecs
from lake.ingest.feed_gap import GapBook
from lake.ingest.instrument_book import InstrumentBook
from lake.ingest.redelivery import Redelivery
from lake.ingest.stored_keys import StoredUnion
from lake.journal import segment
from lake.journal.journal import Journal
from lake.journal.reader import JournalReader
from tests.verify.lakehouse import Lakehouse, faults

NOON_MS = 1_723_118_400_000
MEBIBYTE = 1 << 20


def frame(*ids: int, price: float = 33_021.9) -> bytes:
    """Return a frame of trades with these ids, and a quote that has none."""
    trades = [
        {"ev": "XT", "pair": "BTC-USD", "p": price, "t": NOON_MS + i, "s": 0.25, "c": [2]}
        | {"i": str(i), "x": 1, "r": NOON_MS + i + 5}
        for i in ids
    ]
    quote = {"ev": "XQ", "pair": "BTC-USD", "bp": price - 1, "bs": 1, "ap": price + 1, "as": 2}
    return orjson.dumps([*trades, quote | {"t": NOON_MS + ids[0], "x": 1, "r": NOON_MS + 9}])


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal of two connections that bring the same trades, and a poisoned frame; a segment a
    flush.
    """
    one = Journal(tmp_path / "journal" / "shard-0", 0, segment_bytes_max=1, bytes_max=1 << 30)
    received = (NOON_MS + 50) * 1_000
    for connection in (0, 1):
        up = control.dump(control.Up(connection, received))
        one.append("sim", connection, [up], [received], control=True)
    one.append("sim", 0, [frame(1, 2), frame(3), b'{"no'], [received] * 3)
    one.append("sim", 1, [frame(2, 3), frame(4)], [received] * 2)
    one.flush()
    yield one
    one.close()


@pytest.fixture
def moved(lakehouse: Lakehouse, journal: Journal) -> Lakehouse:
    """The journal's frames in hot, in one batch."""
    lakehouse.start_shard(0)
    stores = StoredUnion(lakehouse.dsn)
    reader = JournalReader(journal.directory, 0)
    builder = BatchBuilder(
        0, codecs(), Redelivery(stores, {}), GapBook(0), InstrumentBook(0), {}, epoch=1
    )
    built = builder.build(reader.read(1, frames_max=1_000, bytes_max=MEBIBYTE), NOON_MS * 1_000)
    reader.close()
    stores.close()
    tables = {**built.tables, "ledger_minutes": BatchLedger(0).rows(built)}
    lakehouse.insert(tables, 0, built.last_frame)
    return lakehouse


def test_frames_decode_again_to_what_is_stored(moved: Lakehouse, journal: Journal) -> None:
    first = moved.verify(journal=journal.directory.parent)

    assert first.holds, str(first)
    assert first.events == 13
    assert moved.verify(journal=journal.directory.parent).rows_read == 0
    assert moved.verify(journal=journal.directory.parent, full=True).holds


def test_segments_that_are_gone_are_no_fault(moved: Lakehouse, journal: Journal) -> None:
    for each in segment.segments(journal.directory):
        each.path.unlink()

    assert moved.verify(journal=journal.directory.parent).holds


def test_row_wrong_in_hot_and_ledger_alike_is_found_in_the_frames(
    moved: Lakehouse, journal: Journal
) -> None:
    with psycopg.connect(moved.dsn) as connection:
        connection.execute("UPDATE market.crypto_trades SET price = price + 1 WHERE trade_id = '1'")
        totals = ledger.totals_sql("crypto_trades", "postgres", "market.crypto_trades")
        connection.execute(
            "UPDATE market.ledger_minutes AS l SET sum_a = t.sum_a, digest = t.digest "
            f"FROM ({totals}) AS t WHERE l.dataset = 'crypto_trades'".encode()
        )

    found = faults(moved.verify(journal=journal.directory.parent), "journal")

    assert any(
        "crypto_trades: 4 rows in the ledger are not those of the frames" in f for f in found
    )


def test_frame_damaged_on_disk_is_found(moved: Lakehouse, journal: Journal) -> None:
    (only,) = segment.segments(journal.directory)
    raw = bytearray(only.path.read_bytes())
    place = raw.index(b'"33021.9' if b'"33021.9' in raw else b"33021.9")
    raw[place] ^= 1
    only.path.write_bytes(raw)

    assert faults(moved.verify(journal=journal.directory.parent), "journal")


def more(journal: Journal) -> list[Path]:
    """Journal frames 8 and 9, then 10, none of which is moved; return the segments' paths."""
    for frames in ([frame(5), frame(6)], [frame(7)]):
        journal.append("sim", 0, frames, [NOON_MS * 1_000] * len(frames))
        journal.flush()
    return [each.path for each in segment.segments(journal.directory)]


@pytest.mark.parametrize("full", [False, True])
def test_frames_journalled_and_not_yet_moved_are_said(
    moved: Lakehouse, journal: Journal, full: bool
) -> None:
    more(journal)

    report = moved.verify(journal=journal.directory.parent, full=full)

    assert report.holds
    assert str(report).splitlines() == [
        "13 events, 0 lost, 0 duplicated",
        "3 frames journalled, not yet moved: the next ingest moves them",
    ]


@pytest.mark.parametrize("full", [False, True])
def test_frames_that_are_in_no_store_and_no_segment_are_lost(
    moved: Lakehouse, journal: Journal, full: bool
) -> None:
    stored, lost, _ = more(journal)
    stored.unlink()
    lost.unlink()

    report = moved.verify(journal=journal.directory.parent, full=full)

    assert not report.holds
    assert str(report).splitlines() == [
        "13 events, 0 lost, 0 duplicated, 2 frames lost; 1 fault:",
        "  journal frames: shard 0 frames 8 to 9 lost: journalled, not stored, in no segment:"
        f" {journal.directory}: restore its segments from a copy; there is none:"
        " ticklake restore --accept-loss",
        "1 frame journalled, not yet moved: the next ingest moves it",
    ]


def test_a_damaged_block_that_is_not_moved_is_lost(moved: Lakehouse, journal: Journal) -> None:
    *_, last = more(journal)
    raw = bytearray(last.read_bytes())
    raw[-3] ^= 1
    last.write_bytes(raw)

    report = moved.verify(journal=journal.directory.parent)

    assert (report.frames_lost, report.frames_waiting) == (1, 2)

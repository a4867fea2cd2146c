"""A shard's inbox: what others leave is journalled once, by the owner of its tickers only."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lake.clock import SystemClock
from lake.errors import Damaged
from lake.ingest import control
from lake.ingest.claim import covered
from lake.ingest.inbox import DAMAGED, InboxToJournal, inbox_of, opened, post
from lake.ingest.intake import Intake
from lake.ingest.parcels_to_journal import Parcel
from lake.journal.journal import Journal
from lake.journal.reader import JournalReader

CLOCK = SystemClock()
FRAMES = [b'{"a":1}', b"\xff\xff\xff\xff\n binary \n", b""]
FILLED = control.GapFilled({"gap_id": 7, "gap_from": 1, "gap_to": None}, "crypto_trades", 9)


def taken(
    folder: Path, journals: Path, claims: list[str], *, until_gone: bool = True
) -> list[bytes]:
    """Run an owner of the inbox until it is empty (or for a moment); return what it journalled."""

    async def scenario() -> None:
        journal = Journal(journals, 0, segment_bytes_max=1 << 20, bytes_max=1 << 24)
        intake, ended = Intake(journal, CLOCK), asyncio.Event()
        running = asyncio.create_task(InboxToJournal(folder, claims).run(intake, CLOCK, ended))
        for _ in range(3_000 if until_gone else 10):
            await asyncio.sleep(0.02)
            if until_gone and not list(folder.glob("*.parcel")):
                break
        ended.set()
        await running
        journal.close()

    asyncio.run(scenario())
    reader = JournalReader(journals, 0)
    found = [raw for run in reader.read(1, frames_max=99, bytes_max=1 << 20) for raw in run.frames]
    reader.close()
    return found


def test_a_parcel_is_read_back_as_it_was_left(tmp_path: Path) -> None:
    folder = inbox_of(tmp_path, 3)
    path = post(folder, Parcel(FRAMES, [("coinbase", FILLED)]), ["coinbase|X:BTCUSD"], CLOCK)
    claims, parcel = opened(path)
    assert claims == ["coinbase|X:BTCUSD"]
    assert list(parcel.frames) == FRAMES
    assert list(parcel.records) == [("coinbase", FILLED)]


def test_the_owner_journals_what_is_left_in_order_and_removes_it(tmp_path: Path) -> None:
    folder = inbox_of(tmp_path, 0)
    post(folder, Parcel(FRAMES), ["coinbase|X:BTCUSD"], CLOCK)
    post(folder, Parcel([], [("coinbase", FILLED)]), [], CLOCK)
    found = taken(folder, tmp_path / "journal", ["coinbase|*"])
    assert found == [*FRAMES, control.dump(FILLED)]
    assert list(folder.iterdir()) == []


def test_a_parcel_of_a_ticker_that_the_owner_has_not_stays(tmp_path: Path) -> None:
    folder = inbox_of(tmp_path, 0)
    path = post(folder, Parcel(FRAMES), ["kraken|X:BTCUSD"], CLOCK)
    assert taken(folder, tmp_path / "journal", ["coinbase|*"], until_gone=False) == []
    assert path.exists()


def test_a_damaged_parcel_is_set_aside_and_the_next_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = inbox_of(tmp_path, 0)
    path = post(folder, Parcel(FRAMES), [], CLOCK)
    raw = bytearray(path.read_bytes())
    raw[-2] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(Damaged):
        opened(path)
    post(folder, Parcel([b"next"]), [], CLOCK)
    assert taken(folder, tmp_path / "journal", []) == [b"next"]
    assert [each.suffix for each in folder.iterdir()] == [DAMAGED]
    assert "checksum" in capsys.readouterr().err


def test_claims_are_covered_by_themselves_and_by_all_of_a_feed() -> None:
    assert covered(["a|X", "b|Y"], ["a|*", "b|Y"])
    assert not covered(["a|X", "b|Y"], ["a|*"])
    assert covered([], [])


def test_a_released_event_is_journalled_once_whoever_posts_it_again(tmp_path: Path) -> None:
    """It may have no key: the owner looks for it in its journal, since it was decided."""
    folder, since_us = inbox_of(tmp_path, 0), CLOCK.now_us()
    parcel = Parcel(
        [b"let out"], feed="sim", connection=control.RELEASED_CONNECTION, since_us=since_us
    )
    path = post(folder, parcel, ["sim|X:BTCUSD"], CLOCK)
    claims, again = opened(path)
    assert claims == ["sim|X:BTCUSD"]
    assert (again.feed, again.connection, again.since_us) == ("sim", -2, since_us)
    for _ in range(2):
        post(folder, parcel, ["sim|X:BTCUSD"], CLOCK)
        assert taken(folder, tmp_path / "journal", ["sim|*"]) == [b"let out"]
        assert list(folder.iterdir()) == []

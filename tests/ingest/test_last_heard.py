"""When a claim was last heard, over restarts, shards, and torn notes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.ingest.last_heard import NAME, TORN_MARGIN_US, LastHeard

BTC, ETH, ALL = "sim|X:BTCUSD", "sim|X:ETHUSD", "sim|*"


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    for shard in (0, 1):
        (tmp_path / f"shard-{shard}").mkdir()
    return tmp_path


def test_nothing_was_heard_before_the_first_start(journals: Path) -> None:
    assert LastHeard(journals, 0).last_us([ALL], 0) is None


def test_a_note_is_read_by_the_next_session_for_its_own_connection_only(journals: Path) -> None:
    LastHeard(journals, 0).save({(ALL, 0): 50, (ALL, 1): 70})
    again = LastHeard(journals, 0)
    assert [again.last_us([ALL], n) for n in (0, 1, 2)] == [50, 70, None]
    assert again.last_us(["massive|*"], 0) is None


def test_a_session_that_heard_nothing_leaves_the_older_note(journals: Path) -> None:
    LastHeard(journals, 0).save({(ALL, 0): 50})
    LastHeard(journals, 0).save({(ALL, 0): 0})
    assert LastHeard(journals, 0).last_us([ALL], 0) == 50


def test_a_claim_is_followed_to_another_shard(journals: Path) -> None:
    LastHeard(journals, 0).save({(BTC, 0): 90})
    LastHeard(journals, 1).save({(ETH, 0): 40})
    assert LastHeard(journals, 0).last_us([ETH], 0) == 40
    assert LastHeard(journals, 1).last_us([BTC], 0) == 90
    assert LastHeard(journals, 1).last_us([BTC, ETH], 0) == 40


def test_everything_is_as_old_as_its_oldest_ticker(journals: Path) -> None:
    LastHeard(journals, 0).save({(BTC, 0): 90})
    LastHeard(journals, 1).save({(ETH, 0): 40})
    assert LastHeard(journals, 0).last_us([ALL], 0) == 40


def test_a_ticker_was_heard_when_everything_was(journals: Path) -> None:
    LastHeard(journals, 0).save({(BTC, 0): 40})
    LastHeard(journals, 1).save({(ALL, 0): 90})
    assert LastHeard(journals, 0).last_us([BTC], 0) == 90
    assert LastHeard(journals, 0).last_us([ALL], 0) == 90


@pytest.mark.parametrize("torn", ["", '{"sim|*|0": 12', "[]", '{"sim|*|0": "soon"}', "null"])
def test_a_torn_note_is_dated_by_its_file_and_never_too_late(journals: Path, torn: str) -> None:
    path = journals / "shard-0" / NAME
    path.write_text(torn)
    written_us = path.stat().st_mtime_ns // 1000
    assert LastHeard(journals, 0).last_us([ALL], 0) == written_us - TORN_MARGIN_US
    assert LastHeard(journals, 1).last_us([ALL], 0) is None


def test_a_note_that_cannot_be_saved_leaves_the_older_one(journals: Path) -> None:
    heard = LastHeard(journals, 0)
    heard.save({(ALL, 0): 50})
    (journals / "shard-0" / NAME).with_suffix(".new").mkdir()
    heard.save({(ALL, 0): 60})
    assert LastHeard(journals, 0).last_us([ALL], 0) == 50

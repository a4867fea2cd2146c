"""Design 3.3 and 3.4: each acknowledged event is in hot and lake once, whatever dies where."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.steps import NAMES
from tests.path.lakehouse import Lakehouse, frame, stream, trade

KILLED = -9


@pytest.fixture
def lakehouse(migrated_dsn: str, tmp_path: Path) -> Lakehouse:
    return Lakehouse(migrated_dsn, tmp_path)


def test_a_clean_run_stores_the_decode_of_the_journal(lakehouse: Lakehouse) -> None:
    lakehouse.journal(stream(0, 20), [b"not json", frame(trade(5), '{"ev":"XT"}')], stream(20, 20))
    assert lakehouse.move() == 0
    lakehouse.assert_whole()
    assert len(lakehouse.stored("quarantine")) == 2


@pytest.mark.parametrize("step", [n for n in NAMES if n.startswith(("hot.", "lake."))])
def test_kill_at_a_step_loses_and_doubles_nothing(lakehouse: Lakehouse, step: str) -> None:
    lakehouse.journal(stream(0, 10))
    assert lakehouse.move() == 0
    lakehouse.journal(stream(10, 10), up=False)
    assert lakehouse.move(f"{step}=kill@1") == KILLED
    lakehouse.journal(stream(20, 10), up=False)
    assert lakehouse.move() == 0
    lakehouse.assert_whole()


@pytest.mark.parametrize("step", ["hot.committed", "lake.committed", "lake.pointer", "hot.commit"])
def test_a_lost_answer_to_a_commit_is_looked_up(lakehouse: Lakehouse, step: str) -> None:
    lakehouse.journal(stream(0, 10))
    assert lakehouse.move(f"{step}=lost-answer@1") == 0
    lakehouse.assert_whole()

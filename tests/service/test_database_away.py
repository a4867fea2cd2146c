"""Issue 7, faults: PostgreSQL away beside orders that flow; none twice, lost, or on old data.

Short: python -m tests.service.away HOME does it for 30 s each.
"""

from __future__ import annotations

from pathlib import Path

from infra.command.main import run
from tests.service.away import trades_through

AWAY_S = 7.0
"""Longer than a silent leader is borne with, and than a price is fresh."""


def test_no_order_is_lost_or_twice_or_on_old_data_while_the_database_is_away(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    assert run(["up", "--home", str(home)]) == 0
    try:
        counted = trades_through(home, AWAY_S)
    finally:
        run(["down", "--home", str(home)])
    assert counted["of_sessions"] > 0
    assert counted["filled"] > 0

"""Issue 7, faults: servers away beside orders that flow; none twice, lost, or on old data.

Short: python -m tests.service.away HOME does it for 30 s each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from infra.command.main import run
from tests.service.away import DATABASE, OTHERS, Fault, trades_through

AWAY_S = 7.0
"""Longer than a silent leader is borne with, and than a price is fresh."""


@pytest.mark.parametrize("faults", [DATABASE, OTHERS], ids=["database", "redis and ingest"])
def test_no_order_is_lost_or_twice_or_on_old_data_while_a_server_is_away(
    faults: Sequence[Fault], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    assert run(["up", "--home", str(home)]) == 0
    try:
        counted = trades_through(home, AWAY_S, faults)
    finally:
        run(["down", "--home", str(home)])
    assert counted["of_sessions"] > 0
    assert counted["filled"] > 0

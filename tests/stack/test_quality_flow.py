"""Quality under Prefect: the scheduled flow, run by the worker, finds what is in the data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lake.state import read_state
from tests.quality.house import House
from tests.quality.test_rows_to_quality import CRASH, recorded_bars
from tests.stack.emptied import emptied
from tests.stack.pool_runs import post, run_of

BEFORE, AFTER = timedelta(hours=12), timedelta(hours=1)


@pytest.fixture
def house(stack: Path) -> Iterator[House]:
    house = House(*emptied(stack))
    house.start_shard(0)
    yield house
    house.close()


def test_the_scheduled_flow_flags_the_crash_of_october_2025_in_recorded_bars(
    stack: Path, house: House, data_dir: Path
) -> None:
    rows = recorded_bars(data_dir, CRASH - BEFORE, CRASH + AFTER)
    house.put_bars(rows)
    url = read_state(stack)["prefect"]["url"]
    run = run_of(url, "rows-to-quality/pool-quality")
    assert run["state_type"] == "COMPLETED", run["state"]["message"]

    failed = house.rows("SELECT rule, rows_at_fault FROM quality_results WHERE status = 'failed'")
    flagged = {
        (each["rule"], row["ticker"])
        for each in failed
        for row in json.loads(each["rows_at_fault"])
        if "event_time" in row and datetime.fromisoformat(row["event_time"]) == CRASH
    }
    for rule in ("return_z_score", "volume_burst"):
        assert {(rule, "X:BTCUSDT"), (rule, "X:ETHUSDT")} <= flagged
    # the stack's own flow may make coarser bars of these meanwhile
    interval = rows[0]["interval"]
    kept = f"SELECT count(*) AS n FROM bars WHERE \"interval\" = '{interval}'"
    within = f"event_time BETWEEN '{CRASH - BEFORE}' AND '{CRASH + AFTER}'"
    assert house.rows(f"{kept} AND {within}") == [{"n": len(rows)}]
    wanted = {"key": {"any_": ["quality"]}, "flow_run_id": {"any_": [run["id"]]}}
    assert post(f"{url}/artifacts/filter", {"artifacts": wanted})

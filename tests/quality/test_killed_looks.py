"""Issue 5, faults: a look that is killed at any step leaves what was, and the next completes it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from lake.hot.alerts import open_alerts
from lake.quality.book import DATASET, marks
from tests.bars.trading import EPOCH, NOON
from tests.quality.house import US, House, trade

ROOT = Path(__file__).resolve().parents[2]
NOW = NOON + timedelta(minutes=3)
ENDS_S_MAX = 120

LOOK = """
import json, sys
from pathlib import Path
from flows.rows_to_quality import RowsToQuality
from lake.clock import ManualClock
from lake.steps import Steps
from lake.warehouse import Folder
dsn, folder, now_us, plan = json.loads(sys.argv[1])
clock, steps = ManualClock(now_us), Steps.parse(plan)
with RowsToQuality(dsn, Folder(Path(folder)), clock=clock, steps=steps) as checks:
    checks.drain()
"""


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[House]:
    house = House(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    house.take([trade(NOON + timedelta(seconds=n), 100) for n in range(20)])
    house.look()
    house.take([trade(NOON + timedelta(seconds=30), 100, size=Decimal(0))])
    yield house
    house.close()


def start(house: House, plan: str = "") -> subprocess.Popen[bytes]:
    order = [house.dsn, str(house.warehouse), (NOW - EPOCH) // US, plan]
    return subprocess.Popen([sys.executable, "-c", LOOK, json.dumps(order)], cwd=ROOT)


def numbers(house: House, view: str) -> list[int]:
    return [row["seq"] for row in house.rows(f"SELECT seq FROM {view} ORDER BY seq")]


def assert_each_once(house: House) -> None:
    """Every result is in hot, in the lake and in the view, once; each trade was looked at once."""
    whole = numbers(house, DATASET)
    assert len(set(whole)) == len(whole)
    assert numbers(house, f"hot.{DATASET}") == numbers(house, f"lake.{DATASET}") == whole
    looked = house.rows(
        f"SELECT sum(rows_checked) AS checked, sum(rows_failed) AS failed FROM {DATASET}"
        " WHERE rule = 'size_positive' AND dataset = 'crypto_trades'"
    )
    assert looked == [{"checked": 21, "failed": 1}]
    with psycopg.connect(house.dsn) as connection:
        assert marks(connection)[0] == house.frames[0]
        assert open_alerts(connection) == []


@pytest.mark.parametrize(
    ("step", "published"),
    [
        ("quality.looked", False),
        ("quality.written", False),
        ("quality.recorded", True),
        ("lake.parquet", True),
        ("lake.manifest", True),
        ("lake.pointer", True),
        ("lake.committed", True),
    ],
)
def test_a_look_killed_at_any_step_leaves_all_or_nothing_and_the_next_completes_it(
    house: House, step: str, published: bool
) -> None:
    before = numbers(house, DATASET)
    killed = start(house, f"{step}=kill")
    assert killed.wait(ENDS_S_MAX) == -9
    after = numbers(house, DATASET)
    assert after[: len(before)] == before
    assert (len(after) > len(before)) == published
    house.look()
    assert_each_once(house)
    house.look()
    assert_each_once(house)


def test_two_looks_at_once_one_of_them_killed_look_at_each_row_once(house: House) -> None:
    both = [start(house), start(house, "quality.written=kill")]
    ends = [each.wait(ENDS_S_MAX) for each in both]
    assert ends == [0, -9]
    house.look()
    assert_each_once(house)

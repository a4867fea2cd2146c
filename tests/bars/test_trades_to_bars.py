"""Issue 5, part 1: bars of a real lakehouse are what its trades say, step by step, kill by kill."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from flows.trades_to_bars import LEASE, TradesToBars
from lake.bars.bars_table import BarsTable, Marks
from lake.bars.changes import Changes
from lake.clock import ManualClock, SystemClock
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.errors import Damaged, Fenced, Unavailable
from lake.hot.bars import HotToBars
from lake.hot.turn import turn
from lake.tables.catalog import open_catalog
from lake.views.client import Client
from tests.bars.trading import EPOCH, NOON, Row, expected, ordered, published_bar, trades
from tests.path.lakehouse import ROOT
from tests.verify.lakehouse import Lakehouse

EVENING = NOON + timedelta(hours=9)
US = timedelta(microseconds=1)


class House(Lakehouse):
    """A lakehouse with trades, and who makes bars of them."""

    def bars(self, now: datetime = EVENING, **options: int) -> TradesToBars:
        clock = ManualClock((now - EPOCH) // US)
        return TradesToBars(self.dsn, self.place, clock=clock, grace_ms=0, **options)

    def make(self, now: datetime = EVENING, **options: int) -> int:
        """Make bars as of now; return the bars put."""
        with self.bars(now, **options) as bars:
            return sum(step.put for step in bars.drain())

    def take(self, rows: list[Row], dataset: str = "crypto_trades") -> None:
        self.write(frames=len(rows), tables={dataset: rows})

    def stored(self, view: str = "bars") -> list[Row]:
        with Client(self.dsn, self.place) as client:
            return ordered(client.arrow(f"FROM {view}").to_pylist())

    def snapshots(self) -> int:
        return len(self.table("bars").metadata.snapshots)


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[House]:
    house = House(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    yield house
    house.close()


def test_bars_close_with_the_watermark_and_a_late_trade_changes_its_own_only(house: House) -> None:
    rows = trades(1, 1)
    house.take(rows)
    for minutes in (20, 61, 62):
        now = NOON + timedelta(minutes=minutes)
        house.make(now)
        assert house.stored() == expected(rows, now)
    house.commit()  # from here on the trades are read from the lake
    rows += trades(2, 201, count=1, start=NOON + timedelta(minutes=3), span_s=1)
    rows[-1]["conditions"] = None
    house.take(rows[-1:])
    now = NOON + timedelta(minutes=62)
    assert house.make(now) == 4  # 1s, 1m, 5m, 1h; the day has not closed
    assert house.stored() == expected(rows, now)
    midnight = NOON + timedelta(hours=12)
    house.make(midnight)
    assert house.stored() == expected(rows, midnight)
    assert {row["interval"] for row in house.stored()} == {"1s", "1m", "5m", "1h", "1d"}


def test_nothing_new_publishes_nothing(house: House) -> None:
    house.take(trades(1, 1))
    assert house.make() > 0
    before = house.snapshots()
    assert house.make() == house.make(EVENING + timedelta(seconds=30)) == 0
    assert house.snapshots() == before


def test_history_in_pieces_gives_the_same_bars(house: House) -> None:
    rows = [row for seed in range(4) for row in trades(seed, 1 + 50 * seed, count=50)]
    for first in range(0, 200, 50):
        house.take(rows[first : first + 50])
    house.make(rows_max=40)
    assert house.snapshots() > 2
    assert house.stored() == expected(rows, EVENING)


def test_published_bars_come_in_where_there_are_no_trades(house: House) -> None:
    rows = trades(1, 1, count=50, span_s=600)
    rows = [row for row in rows if row["conditions"] is None and row["ticker"] == "X:BTCUSD"]
    held = {row["event_time"].replace(second=0, microsecond=0) for row in rows}
    rows = [{**row, "seq": n << 16} for n, row in enumerate(rows, 1)]
    house.take(rows)
    first = len(rows) + 1
    minutes = [NOON + timedelta(minutes=m) for m in range(20)]
    house.take([published_bar(first + n, at) for n, at in enumerate(minutes)], "crypto_aggregates")
    house.make()
    found = house.stored()
    taken = [r["event_time"] for r in found if (r["exchange"], r["interval"]) == ("sim", "1m")]
    assert taken == [at for at in minutes if at not in held]
    assert [row for row in found if row["exchange"] != "sim"] == expected(rows, EVENING)


def test_the_old_names_show_closed_bars_and_then_those_of_the_hot_tier(house: House) -> None:
    """Closed bars come from the lake, the others from hot; both agree to the last digit."""
    rows = trades(5, 1)
    house.take(rows)
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        roll_ups = HotToBars(connection, SystemClock())
        while roll_ups.step():
            continue
    hot_alone = {level: house_bars(house, level) for level in ("1m", "5m", "1h", "1d")}
    wanted = expected(rows, NOON + timedelta(days=2))
    for level, found in hot_alone.items():
        columns = found[0].keys() - {"bucket"}
        assert [{name: row[name] for name in columns} for row in found] == [
            {name: row[name] for name in columns} for row in wanted if row["interval"] == level
        ]
    for minutes in (7, 63, 24 * 60):
        house.make(NOON + timedelta(minutes=minutes))
        assert {level: house_bars(house, level) for level in hot_alone} == hot_alone


def house_bars(house: House, level: str) -> list[Row]:
    with Client(house.dsn, house.place) as client:
        query = f"FROM crypto_agg_{level} ORDER BY ticker, exchange, market, bucket"
        return list(client.arrow(query).to_pylist())


def test_a_rebuild_mends_what_somebody_spoiled_and_leaves_the_rest(house: House) -> None:
    rows = trades(1, 1)
    house.take(rows)
    house.make()
    wanted = expected(rows, EVENING)
    first, last = ((NOON + timedelta(minutes=m) - EPOCH) // US for m in (0, 30))
    with house.bars() as bars:
        assert bars.rebuild(first, last) == []
    house.table("bars").delete("event_time < '2024-08-08T12:20:00+00:00' and interval = '1m'")
    assert house.stored() != wanted
    with house.bars() as bars:
        (step,) = bars.rebuild(first, last)
        assert 0 < step.put < len(wanted) / 2
        assert bars.rebuild(first, last) == []
    assert house.stored() == wanted


PROGRAM = """
import json, sys
from flows.trades_to_bars import TradesToBars
from lake.clock import ManualClock
from lake.steps import Steps
from lake.warehouse import Folder
from pathlib import Path
dsn, folder, now_us, plan = json.loads(sys.argv[1])
clock, steps = ManualClock(now_us), Steps.parse(plan)
with TradesToBars(dsn, Folder(Path(folder)), clock=clock, steps=steps) as bars:
    bars.drain()
"""


@pytest.mark.parametrize(
    "step", ["lake.parquet", "lake.manifest", "lake.pointer", "lake.committed"]
)
def test_a_run_killed_at_any_step_leaves_the_last_bars_and_a_rerun_completes(
    house: House, step: str
) -> None:
    rows = trades(1, 1)
    house.take(rows)
    house.make(NOON + timedelta(minutes=30))
    before = house.stored()
    rows += trades(2, 201, count=20)
    house.take(rows[200:])
    order = [house.dsn, str(house.warehouse), (EVENING - EPOCH) // US, f"{step}=kill"]
    words = [sys.executable, "-c", PROGRAM, json.dumps(order)]
    assert subprocess.run(words, cwd=ROOT, check=False).returncode == -9
    whole = expected(rows, EVENING)
    assert house.stored() == (whole if step == "lake.committed" else before)
    house.make()
    assert house.stored() == whole


def test_two_runs_at_once_do_no_harm(house: House) -> None:
    rows = trades(1, 1)
    house.take(rows)
    faults: list[BaseException] = []

    def run() -> None:
        try:
            house.make()
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert faults == []
    assert house.stored() == expected(rows, EVENING)
    with (
        turn(house.dsn, LEASE),
        house.bars(wait_s=1) as bars,
        pytest.raises(Unavailable, match="another run is at work"),
    ):
        bars.step()


def test_a_run_that_lost_its_turn_is_refused(house: House) -> None:
    house.take(trades(1, 1))
    house.make()
    with turn(house.dsn, LEASE) as lease:
        catalog = open_catalog(house.dsn, house.place, epoch=lease.epoch, lease=LEASE)
        table = BarsTable(catalog, epoch=lease.epoch)
    with turn(house.dsn, LEASE):
        nothing = Changes(_no_rows(), _no_rows())
        with pytest.raises(Fenced):
            table.publish(nothing, table.marks())
    catalog.close()


def test_bars_that_break_a_rule_are_never_seen_and_the_failure_says_which(house: House) -> None:
    rows = trades(1, 1)
    house.take(rows)
    house.make()
    before = house.stored()
    bad = {**before[0], "high": before[0]["low"] - 1}
    with turn(house.dsn, LEASE) as lease:
        catalog = open_catalog(house.dsn, house.place, epoch=lease.epoch, lease=LEASE)
        table = BarsTable(catalog, epoch=lease.epoch)
        put = pa.Table.from_pylist([bad], schema=arrow_schema(load("bars")))
        with pytest.raises(Damaged, match=r"1 rows break bar_consistent .*X:BTCUSD sim:1.*nothing"):
            table.publish(Changes(put, _no_rows()), Marks({0: 999}, 0))
        catalog.close()
    assert house.stored() == before


def _no_rows() -> pa.Table:
    return arrow_schema(load("bars")).empty_table()

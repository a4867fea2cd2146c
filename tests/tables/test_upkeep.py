"""Upkeep: small files become large, snapshots go, files go after a grace, and no row ever does.

One suite for both hands: our own process, and Trino where a stack is up.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lake.clock import SystemClock, utc_from_us
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.errors import Unavailable
from lake.hot.lease import COMMITTER, take
from lake.tables.catalog import open_catalog
from lake.tables.data_file import DAY_US, ROW_GROUP_ROWS, ROW_GROUP_ROWS_MIN
from lake.tables.lake_table import LakeTable
from lake.tables.tags import DAY, HOUR, keep_tags, plan_tags
from lake.tables.trino_upkeep import TRIES_MAX, TrinoUpkeep, may_sweep
from lake.tables.upkeep import Merged, Upkeep, UpkeepLimits
from lake.tables.warehouse_io import WarehouseIO
from lake.trino_session import LostRace, Trino, connect_trino
from lake.views.client import Client
from lake.warehouse import Folder, Warehouse
from tests.conftest import Databases
from tests.path.lakehouse import Lakehouse, stream
from tests.stack.emptied import emptied

FUTURE_US = 1 << 60
MERGE_FACTOR = UpkeepLimits().merge_factor
SNAPSHOTS_MAX = UpkeepLimits().snapshots_max
DATASET = "crypto_trades"
NOW = datetime(2026, 3, 1, 12, 20, tzinfo=UTC)
RACES = 12
TICKERS, PART_ROWS = 40, 26_000
TRINO_GROUP_ROWS_MAX = 2 * ROW_GROUP_ROWS
"""It counts bytes, 4 MiB at least: of rows as narrow as these that is more of them."""


@dataclass(frozen=True)
class Place:
    """Where a table's upkeep is tried, and by whom it is done."""

    dsn: str
    warehouse: Warehouse
    session: Trino | None = None

    def upkeep(self, **options: Any) -> Callable[..., Upkeep]:
        """Return who does it."""
        if self.session is None:
            return Upkeep
        return lambda *words, **more: TrinoUpkeep(*words, session=self.session, **more)


@pytest.fixture(params=("process", "trino"))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "process":
        yield Place(request.getfixturevalue("migrated_dsn"), Folder(tmp_path / "lake"))
        return
    home = os.environ.get("TICKLAKE_TEST_STACK")
    if not home:
        pytest.skip("no Trino: TICKLAKE_TEST_STACK names no home whose stack is up")
    with connect_trino(Path(home)) as session:
        yield Place(*emptied(Path(home)), session)


@pytest.fixture(scope="module")
def rows(
    databases: Databases, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> pa.Table:
    """Return a few trades, by way of a small lakehouse of their own."""
    name = databases.create(migrated_template)
    lakehouse = Lakehouse(databases.dsn(name), tmp_path_factory.mktemp("other"))
    lakehouse.journal(stream(0, 5))
    assert lakehouse.move() == 0
    with Client(lakehouse.dsn) as client:
        found = client.arrow(f"SELECT * FROM {DATASET} ORDER BY seq")
    databases.drop(name)
    return found


@pytest.fixture
def table(place: Place) -> Iterator[LakeTable]:
    with psycopg.connect(place.dsn, autocommit=True) as connection:
        connection.execute("DELETE FROM market.leases")
        lease = take(connection, COMMITTER)
    assert lease is not None
    with closing(open_catalog(place.dsn, place.warehouse, epoch=lease.epoch)) as catalog:
        yield LakeTable(catalog, DATASET, epoch=lease.epoch)


@pytest.fixture
def append(table: LakeTable, rows: pa.Table) -> Callable[[int], None]:
    def several(times: int) -> None:
        for _ in range(times):
            table.refresh()
            table.append(rows, {0: 1})

    several(1)
    return several


@pytest.fixture
def upkeep(table: LakeTable, place: Place) -> Iterator[Upkeep]:
    columns = ["ticker", "event_time", "seq"]
    lock = threading.Lock()
    with closing(open_catalog(place.dsn, place.warehouse, epoch=table.epoch)) as catalog:
        yield place.upkeep()(catalog, DATASET, columns, epoch=table.epoch, commit_lock=lock)


def count(place: Place) -> int:
    with Client(place.dsn, place.warehouse) as client:
        return int(client.arrow(f"SELECT count(*) AS n FROM lake.{DATASET}")["n"][0].as_py())


def test_small_files_become_one_sorted_file_with_the_same_rows(
    append: Callable[[int], None], upkeep: Upkeep, table: LakeTable, place: Place
) -> None:
    append(MERGE_FACTOR - 1)
    before = count(place)
    merged = upkeep.merge()
    assert merged is not None
    assert (merged.files_before, merged.files_after) == (MERGE_FACTOR, 1)
    assert merged.rows == before == count(place)
    table.refresh()
    assert table.holdings().through == {0: 1}
    assert not table.holdings().rolled_back
    keys = table.table.scan().to_arrow().select(["ticker", "event_time", "seq"])
    assert keys == keys.sort_by([(name, "ascending") for name in keys.column_names])
    assert upkeep.merge() is None


def test_a_ticker_s_day_is_read_without_much_beside_it(
    upkeep: Upkeep, table: LakeTable, place: Place
) -> None:
    most = TRINO_GROUP_ROWS_MAX if place.session else ROW_GROUP_ROWS
    for part in range(MERGE_FACTOR):
        table.refresh()
        table.append(day_of_many(part), {0: part + 1})
    merged = upkeep.merge()
    assert merged is not None
    assert merged.files_after == 1
    table.refresh()
    (task,) = table.table.scan().plan_files()
    with table.table.io.new_input(task.file.file_path).open() as source:
        file = pq.ParquetFile(source)
        groups = [file.read_row_group(n, ["ticker"])["ticker"] for n in range(file.num_row_groups)]
    assert max(map(len, groups)) <= most
    bounds = [pc.min_max(group).as_py() for group in groups]
    for ticker, rows in Counter(chain.from_iterable(each.to_pylist() for each in groups)).items():
        read = sum(
            len(group)
            for group, bound in zip(groups, bounds, strict=True)
            if bound["min"] <= ticker <= bound["max"]
        )
        is_cut = rows >= ROW_GROUP_ROWS_MIN and not place.session
        assert read - rows < 2 * (ROW_GROUP_ROWS_MIN if is_cut else most), ticker


def day_of_many(part: int) -> pa.Table:
    """Return trades of a day, of TICKERS tickers, a few of which have most of them."""
    random, rows = np.random.default_rng(part), PART_ROWS
    ticker = np.minimum(random.exponential(TICKERS / 4, rows), TICKERS - 1).astype(int)
    time = pa.array(np.sort(random.integers(0, DAY_US, rows)) + 19_943 * DAY_US)
    columns = {
        "ticker": pa.array([f"X:T{number:02}USD" for number in range(TICKERS)]).take(ticker),
        "exchange": pa.array(["sim:1"] * rows),
        "market": pa.array(["spot"] * rows),
        "event_time": time,
        "received_time": time,
        "price": pa.array(random.integers(1, 10**5, rows, np.int32)),
        "size": pa.array(random.integers(1, 10**3, rows, np.int32)),
        "shard": pa.array(np.zeros(rows, np.int16)),
        "seq": pa.array(np.arange(rows) + ((part + 1) << 32)),
    }
    schema = arrow_schema(load(DATASET))
    arrays = [
        columns[field.name].cast(field.type)
        if field.name in columns
        else pa.nulls(rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def test_a_removed_file_is_needed_as_long_as_a_kept_snapshot_needs_it(
    append: Callable[[int], None], upkeep: Upkeep, table: LakeTable
) -> None:
    append(MERGE_FACTOR - 1)
    table.refresh()
    head = table.table.current_snapshot()
    table.table.manage_snapshots().create_tag(head.snapshot_id, "release").commit()
    merged = upkeep.merge()
    assert merged is not None
    assert upkeep.remove(merged.freed) == 0
    tagged = table.table.refresh().scan(snapshot_id=head.snapshot_id)
    assert tagged.to_arrow().num_rows == merged.rows


def test_snapshots_are_expired_and_their_files_can_go(
    append: Callable[[int], None], upkeep: Upkeep, table: LakeTable, place: Place
) -> None:
    append(SNAPSHOTS_MAX + 1)
    before = count(place)
    freed = upkeep.expire()
    assert freed
    assert upkeep.remove(freed) == len(freed)
    assert count(place) == before
    table.refresh()
    assert len(table.table.metadata.snapshots) < SNAPSHOTS_MAX


def test_files_of_a_commit_that_died_are_found_and_no_other(
    append: Callable[[int], None], upkeep: Upkeep, table: LakeTable, place: Place
) -> None:
    append(3)
    left = f"{table.table.location()}/data/left.parquet"
    with table.table.io.new_output(left).create() as sink:
        sink.write(b"half a file")
    assert upkeep.orphans(FUTURE_US) == [left]
    assert upkeep.orphans(0) == []
    assert upkeep.remove([left]) == 1
    assert upkeep.orphans(FUTURE_US) == []
    assert count(place) == 15 * 4


def test_appends_and_merges_at_once_lose_and_double_nothing(
    append: Callable[[int], None], upkeep: Upkeep, place: Place
) -> None:
    append(MERGE_FACTOR)
    merges: list[Merged | Unavailable | None] = []

    def keep() -> None:
        for _ in range(RACES):
            try:
                merges.append(upkeep.merge())
            except Unavailable as error:
                merges.append(error)

    keeper = threading.Thread(target=keep)
    keeper.start()
    appended = 0
    while keeper.is_alive() and appended < 20 * RACES:
        with suppress(Unavailable):  # it lost the race
            append(1)
            appended += 1
        tried = len(merges)
        while appended % 5 == 0 and keeper.is_alive() and len(merges) < tried + 2:
            time.sleep(0.005)  # who is faster would win every race: one merge is let through
    keeper.join()
    assert any(isinstance(each, Merged) for each in merges), merges
    assert count(place) == 15 * (1 + MERGE_FACTOR + appended)


class Losing(Trino):
    """A session whose statements lose so many races, and else change nothing."""

    def __init__(self, races: int) -> None:
        super().__init__("http://127.0.0.1:1", user="nobody")
        self.races = races
        self.asked: list[str] = []

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        self.asked.append(statement)
        if len(self.asked) <= self.races:
            raise LostRace(self.url, "somebody was first", "try again")
        return []


@pytest.mark.parametrize(
    ("races", "asked"), [(0, 1), (TRIES_MAX - 1, TRIES_MAX), (TRIES_MAX, TRIES_MAX)]
)
def test_a_lost_race_is_tried_again_and_a_merge_that_changed_nothing_is_none(
    append: Callable[[int], None], table: LakeTable, place: Place, races: int, asked: int
) -> None:
    if place.session is not None:
        pytest.skip("the session of this test is its own")
    append(MERGE_FACTOR)
    session = Losing(races)
    with closing(open_catalog(place.dsn, place.warehouse, epoch=table.epoch)) as catalog:
        upkeep = TrinoUpkeep(
            catalog,
            DATASET,
            ["ticker"],
            epoch=table.epoch,
            commit_lock=threading.Lock(),
            session=session,
        )
        if races < TRIES_MAX:
            assert upkeep.merge() is None
        else:
            with pytest.raises(Unavailable, match=f"others changed it first, {TRIES_MAX} times"):
                upkeep.merge()
    assert len(session.asked) == asked
    assert all("EXECUTE optimize" in statement for statement in session.asked)


def test_a_sweep_waits_for_a_tag_and_then_takes_what_nobody_needs(
    append: Callable[[int], None], table: LakeTable, place: Place
) -> None:
    if place.session is None:
        pytest.skip("in process, files go by the book of removals")
    append(3)
    left = f"{table.table.location()}/data/left.parquet"
    with table.table.io.new_output(left).create() as sink:
        sink.write(b"half a file")
    with closing(open_catalog(place.dsn, place.warehouse, epoch=table.epoch)) as catalog:
        upkeep = TrinoUpkeep(
            catalog,
            DATASET,
            ["ticker"],
            epoch=table.epoch,
            commit_lock=threading.Lock(),
            session=place.session,
            sweep_age_s=1,
        )
        now = utc_from_us(SystemClock().now_us())
        assert not upkeep.sweep(now)
        table.refresh()
        pinned = table.table.metadata.snapshots[1].snapshot_id
        table.table.manage_snapshots().create_tag(pinned, "release").commit()
        SystemClock().sleep(1.5)
        upkeep.sweep_now()
    table.refresh()
    io = table.table.io
    assert isinstance(io, WarehouseIO)
    assert left not in {file.location for file in io.listed(table.table.location())}
    head = table.table.current_snapshot()
    kept = {snapshot.snapshot_id for snapshot in table.table.metadata.snapshots}
    # the manifests are rewritten last, on top of what was the head
    assert kept == {pinned, head.parent_snapshot_id, head.snapshot_id}
    assert table.table.scan(snapshot_id=pinned).to_arrow().num_rows == 15 * 2
    assert count(place) == 15 * 4


def test_tags_stand_for_the_last_hours_and_days_and_others_are_left_alone(
    append: Callable[[int], None], upkeep: Upkeep, table: LakeTable, place: Place
) -> None:
    lock = threading.Lock()
    with closing(open_catalog(place.dsn, place.warehouse, epoch=table.epoch)) as catalog:
        append(1)
        table.refresh()
        first = table.table.metadata.current_snapshot_id
        table.table.manage_snapshots().create_tag(first, "release").commit()
        keep_tags(catalog, DATASET, NOW, lock)
        append(SNAPSHOTS_MAX + 1)
        keep_tags(catalog, DATASET, NOW + timedelta(minutes=30), lock)
        keep_tags(catalog, DATASET, NOW + timedelta(hours=25), lock)
    freed = upkeep.expire()
    assert freed
    upkeep.remove(freed)
    table.refresh()
    refs = {name: ref.snapshot_id for name, ref in table.table.metadata.refs.items()}
    last = table.table.metadata.current_snapshot_id
    assert refs == {
        "main": last,
        "release": first,
        "day-2026-03-01": first,
        "day-2026-03-02": last,
        "hour-2026-03-02T13": last,
    }
    assert table.table.scan(snapshot_id=first).to_arrow().num_rows == 30


def test_a_tag_of_an_hour_lets_a_sweep_go_once_it_is_older_than_any_query() -> None:
    def allowed(now: datetime) -> list[int]:
        hours = {age: (now - timedelta(hours=age)).strftime(HOUR) for age in range(6)}
        return [age for age, name in hours.items() if may_sweep({name}, now, 3 * 3_600)]

    assert allowed(NOW) == [1, 2]  # it is 12:20
    assert allowed(NOW - timedelta(minutes=10)) == [2]  # that of 11:00 may have come at 11:59
    assert not may_sweep({NOW.strftime(DAY), "release"}, NOW, 3 * 3_600)


def test_what_a_plan_of_tags_says_twice_is_nothing() -> None:
    plan = plan_tags({"release"}, NOW)
    assert plan.due == ("hour-2026-03-01T12", "day-2026-03-01")
    assert plan.over == ()
    assert plan_tags(plan.due, NOW).due == ()

"""The hot tier's tail beyond a noted snapshot: exact, per shard, and read by the index alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from flows.trades_to_bars import TradesToBars
from lake.clock import ManualClock, SystemClock
from lake.contracts.contract import LEDGER_DATASETS, NUMBERED_DATASETS, load
from lake.database import BY_RANGE, with_options
from lake.hot.bars import HotToBars
from lake.hot.numbered import append
from lake.tables.lake_marks import forget_marks, note_mark
from lake.views.client import Client
from lake.views.union_view import AGGREGATE_COLUMNS, AGGREGATES, UNION_DATASETS
from tests.verify.lakehouse import NOON, Lakehouse, trade

OLD_FRAMES = 4_000
FAR = 20_000
"""A shard whose frames all lie beyond the other's."""


@pytest.fixture
def lakehouse(edition_dsn: str, tmp_path: Path) -> Iterator[Lakehouse]:
    house = Lakehouse(edition_dsn, tmp_path)
    yield house
    house.close()


@pytest.fixture
def connection(lakehouse: Lakehouse) -> Iterator[psycopg.Connection]:
    with psycopg.connect(with_options(lakehouse.dsn, **BY_RANGE), autocommit=True) as found:
        yield found


def tail(connection: psycopg.Connection, snapshot_id: int) -> dict[int, int]:
    """Return rows per shard beyond a snapshot."""
    rows = connection.execute(
        "SELECT shard, count(*) FROM market.crypto_trades_tail WHERE snapshot_id = %s GROUP BY 1",
        (snapshot_id,),
    )
    return dict(rows.fetchall())


@pytest.mark.parametrize("dataset", UNION_DATASETS)
def test_tail_has_the_contract_s_columns_and_nothing_noted_shows_every_row(
    connection: psycopg.Connection, dataset: str
) -> None:
    query = f"SELECT * FROM market.{dataset}_tail WHERE snapshot_id = 0"
    found = connection.execute(query.encode())
    assert [each.name for each in found.description or ()] == ["snapshot_id", *load(dataset).names]


def test_tail_is_each_shard_s_rows_beyond_the_snapshot(
    lakehouse: Lakehouse, connection: psycopg.Connection
) -> None:
    lakehouse.write(frames=10, shard=0)
    lakehouse.write(frames=10, shard=1)
    note_mark(lakehouse.catalog, "crypto_trades", 7, {0: 4})

    assert tail(connection, 0) == {0: 30, 1: 30}
    assert tail(connection, 7) == {0: 18, 1: 30}  # a shard it does not know has all of its rows
    assert tail(connection, 8) == {}

    note_mark(lakehouse.catalog, "crypto_trades", 8, {0: 10, 1: 9})
    assert tail(connection, 8) == {1: 3}


@pytest.mark.parametrize("edition", ["plain"], indirect=True)
def test_old_rows_of_a_shard_that_is_far_on_are_not_read_for_a_young_one(
    lakehouse: Lakehouse, connection: psycopg.Connection
) -> None:
    lakehouse.start_shard(0)
    lakehouse.frames[0] = FAR
    for _ in range(4):
        lakehouse.write(frames=OLD_FRAMES, shard=0)
        lakehouse.write(frames=OLD_FRAMES, shard=1)
    note_mark(lakehouse.catalog, "crypto_trades", 7, lakehouse.frames)
    connection.execute(
        "SELECT brin_summarize_new_values('market.crypto_trades_p20240808_place_idx')"
    )
    lakehouse.write(frames=2, shard=1)

    plan = "\n".join(
        str(line)
        for (line,) in connection.execute(
            "EXPLAIN (ANALYZE, COSTS off) SELECT * FROM market.crypto_trades_tail"
            " WHERE snapshot_id = 7 AND ticker = 'X:BTCUSD'"
        )
    )
    blocks = [int(count) for count in re.findall(r"lossy=(\d+)", plan)]
    pages = connection.execute(
        "SELECT pg_relation_size('market.crypto_trades_p20240808') / 8192"
    ).fetchone()
    assert pages is not None
    assert sum(blocks) < pages[0] / 10, plan
    assert tail(connection, 7) == {1: 6}


def day_after(lakehouse: Lakehouse, days: int, frames: int = 2) -> dict[str, Any]:
    """Return the tables of a batch whose trades are of a later day."""
    first = lakehouse.frames.get(0, 0) + 1
    rows = [
        {**row, "event_time": row["event_time"] + timedelta(days=days)}
        for frame in range(first, first + frames)
        for row in (trade(frame, 0), trade(frame, 1))
    ]
    return {"crypto_trades": rows}


def test_days_that_are_whole_in_the_lake_are_not_looked_into(
    lakehouse: Lakehouse, connection: psycopg.Connection
) -> None:
    """As on an edition that compresses, whatever this one does."""
    connection.execute("SELECT market.make_tick_tails(true)")
    lakehouse.write(frames=10)
    lakehouse.write(frames=2, tables=day_after(lakehouse, 1))
    note_mark(lakehouse.catalog, "crypto_trades", 7, lakehouse.frames)
    lakehouse.write(frames=2, tables=day_after(lakehouse, 2))

    plan = [
        str(line)
        for (line,) in connection.execute(
            "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off)"
            " SELECT * FROM market.crypto_trades_tail WHERE snapshot_id = 7"
        )
    ]
    scans = [line for line in plan if re.search(r"Scan (using \S+ )?on \S+ r(_\d+)? ", line)]
    read = [line for line in scans if "never executed" not in line]
    assert len(read) == 1, "\n".join(plan)
    assert tail(connection, 7) == {0: 4}
    assert tail(connection, 0) == {0: 38}


@pytest.mark.parametrize("by_time", [False, True])
def test_a_late_row_of_a_day_that_was_whole_is_in_the_tail(
    lakehouse: Lakehouse, connection: psycopg.Connection, by_time: bool
) -> None:
    connection.execute("SELECT market.make_tick_tails(%s)", (by_time,))
    lakehouse.write(frames=2, tables=day_after(lakehouse, 5))
    note_mark(lakehouse.catalog, "crypto_trades", 7, lakehouse.frames)
    lakehouse.write(frames=2, tables=day_after(lakehouse, 5))
    lakehouse.write(frames=1, tables=day_after(lakehouse, 0, 1))
    assert tail(connection, 7) == {0: 6}


@pytest.mark.parametrize("by_time", [False, True])
def test_rows_after_what_only_a_file_holds_wait_for_the_lake(
    lakehouse: Lakehouse, connection: psycopg.Connection, by_time: bool
) -> None:
    connection.execute("SELECT market.make_tick_tails(%s)", (by_time,))
    lakehouse.write(frames=4)
    lakehouse.write(frames=4, shard=1)
    note_mark(lakehouse.catalog, "crypto_trades", 7, {0: 2, 1: 2})
    lakehouse.sql(
        "INSERT INTO market.staged_files (dataset, shard, first_frame, last_frame, day, path, rows,"
        " digest) VALUES ('crypto_trades', 0, 5, 9, '2023-01-01', 'file:///staged', 1, 0)"
    )
    lakehouse.frames[0] = 9
    lakehouse.write(frames=3)
    assert tail(connection, 7) == {0: 6, 1: 6}  # of shard 0 through frame 4
    note_mark(lakehouse.catalog, "crypto_trades", 8, {0: 9, 1: 4})
    assert tail(connection, 8) == {0: 9}


def test_notes_are_forgotten_once_old_and_not_kept(
    lakehouse: Lakehouse, connection: psycopg.Connection
) -> None:
    for snapshot_id in (7, 8, 9):
        note_mark(lakehouse.catalog, "crypto_trades", snapshot_id, {0: 1})
    connection.execute(
        "UPDATE market.lake_marks SET noted_at = now() - interval '2 h' WHERE snapshot_id < 9"
    )

    assert forget_marks(lakehouse.catalog, "crypto_trades", [8]) == 1

    left = connection.execute(
        "SELECT snapshot_id FROM market.lake_marks WHERE dataset = 'crypto_trades' ORDER BY 1"
    )
    assert left.fetchall() == [(0,), (8,), (9,)]


def test_tail_of_bars_is_what_the_lake_s_snapshot_has_not_closed(
    lakehouse: Lakehouse, connection: psycopg.Connection
) -> None:
    lakehouse.write(frames=400)
    bars = HotToBars(connection, SystemClock())
    while bars.step():
        continue
    now = NOON + timedelta(minutes=5)
    clock = ManualClock((now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))
    with TradesToBars(lakehouse.dsn, lakehouse.place, clock=clock, grace_ms=0) as maker:
        maker.drain()
    head = lakehouse.table("bars").current_snapshot()
    assert head is not None
    names = ", ".join(f'"{name}"' for name in AGGREGATE_COLUMNS)
    found = {}
    for interval in AGGREGATES:
        query = f"SELECT {names} FROM market.crypto_agg_{interval}_tail WHERE snapshot_id = %s"
        hot = connection.execute(query.encode(), (head.snapshot_id,)).fetchall()
        with Client(lakehouse.dsn, lakehouse.place) as client:
            lake = f"FROM lake.bars WHERE \"interval\" = '{interval}'"
            closed = client.sql(f"SELECT {names.replace('bucket', 'event_time')} {lake}").fetchall()
            shown = client.sql(f"SELECT {names} FROM crypto_agg_{interval}").fetchall()
        assert sorted(closed + hot) == sorted(shown), interval
        found[interval] = (len(closed), len(hot))
    # two tickers, seven minutes, five of them closed
    assert found == {"1m": (10, 4), "5m": (2, 2), "1h": (0, 2), "1d": (0, 2)}


@pytest.mark.parametrize("dataset", sorted(set(NUMBERED_DATASETS) - set(LEDGER_DATASETS)))
def test_tail_of_what_flows_write_is_what_lies_beyond_the_lake_s_number(
    connection: psycopg.Connection, lakehouse: Lakehouse, dataset: str
) -> None:
    query = f"SELECT * FROM market.{dataset}_tail WHERE snapshot_id = %s"
    found = connection.execute(query.encode(), (0,))
    assert [each.name for each in found.description or ()] == ["snapshot_id", *load(dataset).names]
    rows = [
        {
            each.name: {"text": f"text {n}", "time": NOON}.get(each.type, 1)
            for each in load(dataset).columns
            if each.name != NUMBERED_DATASETS[dataset]
        }
        for n in range(3)
    ]
    append(connection, dataset, pa.Table.from_pylist(rows))
    note_mark(lakehouse.catalog, dataset, 7, {0: 2})
    counts = [len(connection.execute(query.encode(), (at,)).fetchall()) for at in (0, 7, 8)]
    assert counts == [3, 1, 0]

"""The hot tier behaves alike on every edition of its server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import TICK_DATASETS, load
from lake.errors import BadInput, Fenced, Unavailable
from lake.hot.arrange import arrange
from lake.hot.edition import ask, check_version
from lake.hot.hot_reader import HotReader
from lake.hot.hot_tier import HotBatch, HotTier
from lake.hot.lease import Lease, shard_lease, take
from lake.hot.look import look
from lake.hot.partitions import (
    drop_partition,
    ensure_partitions,
    existing_partitions,
    lock_day,
    summarize,
)
from tests.verify.lakehouse import Lakehouse, trade

DAY = date(2024, 8, 8)
NEXT = DAY + timedelta(days=1)
NOTHING_COUNTED = arrow_schema(load("ledger_minutes")).empty_table()


@pytest.fixture
def connection(edition_dsn: str) -> Iterator[psycopg.Connection]:
    """Connect to a migrated database of the edition."""
    with psycopg.connect(edition_dsn, autocommit=True) as opened:
        yield opened


@pytest.fixture
def lease(connection: psycopg.Connection) -> Lease:
    """Take shard 0."""
    connection.execute("INSERT INTO market.shards (shard) VALUES (0)")
    taken = take(connection, shard_lease(0))
    assert taken is not None
    return taken


def batch(old: int, last: int, day: date = DAY) -> HotBatch:
    """Return a micro-batch of one trade a frame, of a day."""
    move = datetime(day.year, day.month, day.day, tzinfo=UTC) - datetime(2024, 8, 8, tzinfo=UTC)
    rows = [trade(frame, 1) for frame in range(old + 1, last + 1)]
    moved = [{**row, "event_time": row["event_time"] + move} for row in rows]
    table = pa.Table.from_pylist(moved, schema=arrow_schema(load("crypto_trades")))
    return HotBatch(0, old, last, {"crypto_trades": table}, lambda: NOTHING_COUNTED, {})


def written(dsn: str, connection: psycopg.Connection, lease: Lease, *batches: HotBatch) -> HotTier:
    """Write batches as the mover does: days made ahead, then one transaction each."""
    hot = HotTier(dsn)
    for each in batches:
        times = each.tables["crypto_trades"]["event_time"].to_pylist()
        ensure_partitions(connection, "crypto_trades", {time.date() for time in times})
        hot.write(each, lease)
    return hot


def count(connection: psycopg.Connection, where: str = "true") -> int:
    row = connection.execute(f"SELECT count(*) FROM market.crypto_trades WHERE {where}".encode())
    return int(row.fetchone()[0])


def test_the_server_says_what_it_can_do(edition, edition_dsn, connection):
    found = ask(connection)
    assert found.name == edition
    shapes = {"plain": "daily partitions", "apache": "Apache", "community": "Community"}
    assert shapes[edition] in str(found)
    assert look(edition_dsn).lines()[0] == f"hot tier    {found}"
    assert look(edition_dsn).document()["edition"] == {"name": edition, "version": found.version}


def test_arranging_again_changes_nothing(edition, connection):
    jobs = "SELECT to_regclass('timescaledb_information.jobs') IS NOT NULL"
    has_jobs = connection.execute(jobs).fetchone()[0]
    query = (
        "SELECT proc_name, hypertable_name, config::text FROM timescaledb_information.jobs"
        " WHERE job_id >= 1000 ORDER BY job_id"
    )
    before = connection.execute(query).fetchall() if has_jobs else []
    arrange(connection)
    assert (connection.execute(query).fetchall() if has_jobs else []) == before
    names = sorted({name for name, _, _ in before})
    raw = {table for name, table, _ in before if name == "policy_retention"} & set(TICK_DATASETS)
    assert raw == set()  # rows leave by proof, never by a policy
    if edition == "community":
        assert names == [
            "policy_compression",
            "policy_refresh_continuous_aggregate",
            "policy_retention",
        ]
    else:
        assert names == []


@pytest.mark.parametrize(
    ("server", "extension", "fault"),
    [
        (160_004, None, "PostgreSQL 16: older than 17"),
        (170_006, "2.9.3", "TimescaleDB 2.9.3: older than 2.19"),
    ],
)
def test_a_server_of_too_old_a_version_is_refused(server, extension, fault):
    with pytest.raises(BadInput, match=fault):
        check_version(server, extension)


@pytest.mark.parametrize("extension", [None, "2.19.3", "2.30.0-dev", "3.0"])
def test_a_server_that_is_new_enough_is_taken(extension):
    check_version(180_000, extension)


def test_chunks_that_do_not_fill_a_day_are_refused(connection):
    with pytest.raises(BadInput, match="TICKLAKE_HOT_CHUNK_HOURS: 5 h do not fill a day"):
        arrange(connection, chunk_hours=5)


def test_days_of_shorter_chunks_still_leave_whole(edition, edition_dsn, connection, lease):
    arrange(connection, chunk_hours=6)
    hot = written(edition_dsn, connection, lease, batch(0, 30_000), batch(30_000, 30_010, NEXT))
    hot.close()
    assert list(existing_partitions(connection, "crypto_trades")) == [DAY, NEXT]
    assert drop_partition(connection, "crypto_trades", DAY)
    assert count(connection) == count(connection, "event_time >= '2024-08-09'") == 10


def test_batch_is_written_whole_and_read_by_frame(edition_dsn, connection, lease):
    hot = written(edition_dsn, connection, lease, batch(0, 10), batch(10, 25, NEXT))
    hot.close()
    reader = HotReader(edition_dsn)
    rows = reader.rows("crypto_trades", 0, 8, 12)
    reader.close()
    assert [seq >> 16 for seq in rows["seq"].to_pylist()] == [9, 10, 11, 12]
    assert rows.schema == arrow_schema(load("crypto_trades"))
    assert list(existing_partitions(connection, "crypto_trades")) == [DAY, NEXT]


def test_fenced_writer_leaves_nothing(edition_dsn, connection, lease):
    hot = written(edition_dsn, connection, lease, batch(0, 10))
    with pytest.raises(Fenced):
        hot.write(batch(10, 20), Lease(lease.name, lease.epoch - 1))
    with pytest.raises(Fenced):
        hot.write(batch(9, 20), lease)
    hot.close()
    assert count(connection) == 10


def test_summaries_of_new_rows_are_made_in_every_table_of_the_day(edition_dsn, connection, lease):
    written(edition_dsn, connection, lease, batch(0, 20_000)).close()
    assert summarize(connection, "crypto_trades", [DAY]) > 0
    assert summarize(connection, "crypto_trades", [DAY]) == 0


def test_indexes_are_those_that_dashboards_ask_for(connection):
    rows = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'market'"
    ).fetchall()
    uses = {name: text.partition(" USING ")[2] for name, text in rows}
    assert uses["crypto_aggregates_latest"] == (
        "btree (ticker, event_time DESC) INCLUDE (close, volume)"
    )
    assert uses["market_sentiment_latest"] == (
        "btree (asset, event_time DESC) INCLUDE (sentiment_score, confidence)"
    )
    assert uses["market_sentiment_metadata"] == "gin (metadata_json)"
    wide = "WITH (pages_per_range='128', autosummarize='on')"
    for dataset in ("crypto_trades", "crypto_quotes", "crypto_aggregates"):
        assert uses[f"{dataset}_event_time"] == f"brin (event_time) {wide}"
        assert uses[f"{dataset}_ticker_time"] == f"brin (ticker, event_time) {wide}"


LATE = (
    b"INSERT INTO market.crypto_trades SELECT 'X:BTCUSD', 'sim:1', 'spot', '1',"
    b" '2024-08-08 13:00+00', now(), 1, 1, 'buy', NULL, 0, 1"
)


def test_into_a_locked_day_nobody_writes(edition_dsn, connection, lease):
    written(edition_dsn, connection, lease, batch(0, 10)).close()
    with psycopg.connect(edition_dsn) as late, connection.transaction():
        assert lock_day(connection, "crypto_trades", DAY) != []
        late.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            late.execute(LATE)
    assert count(connection) == 10


def test_drop_gives_up_soon_when_a_query_or_a_writer_is_at_it(edition_dsn, connection, lease):
    written(edition_dsn, connection, lease, batch(0, 10)).close()
    for statement in (b"SELECT count(*) FROM market.crypto_trades", LATE):
        with psycopg.connect(edition_dsn) as other:
            other.execute(statement)
            with pytest.raises(Unavailable, match="in use"):
                drop_partition(connection, "crypto_trades", DAY)
            other.rollback()
    assert drop_partition(connection, "crypto_trades", DAY)
    assert not drop_partition(connection, "crypto_trades", DAY)


def test_a_query_under_way_keeps_the_rows_that_it_began_with(edition_dsn, connection, lease):
    """A cursor that has read some of a day's rows reads the rest, whatever is dropped meanwhile."""
    written(edition_dsn, connection, lease, batch(0, 5_000), batch(5_000, 5_010, NEXT)).close()
    with psycopg.connect(edition_dsn) as reader, reader.cursor("rows") as cursor:
        cursor.execute("SELECT seq FROM market.crypto_trades")
        first = cursor.fetchmany(10)
        with pytest.raises(Unavailable):
            drop_partition(connection, "crypto_trades", DAY)
        assert len(first) + len(cursor.fetchall()) == 5_010
    assert drop_partition(connection, "crypto_trades", DAY)


def test_verify_proves_every_unit_and_finds_a_changed_row(edition_dsn, tmp_path: Path):
    house = Lakehouse(edition_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    house.write(frames=30)
    house.commit()
    assert house.verify().holds
    house.write(frames=3)
    assert house.verify().holds
    house.sql("UPDATE market.crypto_trades SET side = 'sell' WHERE seq = 131072")
    report = house.verify()
    house.close()
    assert [fault.tier for fault in report.faults] == ["hot"]
    assert "2024-08-08" in report.faults[0].where or "20240808" in report.faults[0].where

"""A writer or committer that lost its lease is refused in the transaction of its write."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy.exc
from psycopg import errors
from pyiceberg.catalog.sql import SqlCatalog

from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.contracts.iceberg_schema import iceberg_schema, partition_spec, sort_order


@pytest.fixture
def migrated(migrated_dsn: str) -> Iterator[psycopg.Connection]:
    """Connect to a migrated database."""
    with psycopg.connect(migrated_dsn) as opened:
        yield opened


def seed_shard(connection: psycopg.Connection, epoch: int, frame: int) -> None:
    """Put shard 3 at a frame, its lease at an epoch."""
    connection.execute("INSERT INTO market.leases (name, epoch) VALUES ('shard-3', %s)", (epoch,))
    connection.execute("INSERT INTO market.shards (shard, last_frame) VALUES (3, %s)", (frame,))
    connection.commit()


def advance(connection: psycopg.Connection, epoch: int, old: int, new: int, shard: int = 3) -> None:
    """Call advance_shard as a batch's last statement does."""
    connection.execute(
        "SELECT market.advance_shard(%s::smallint, %s, %s, %s, %s, %s::jsonb)",
        (shard, f"shard-{shard}", epoch, old, new, '{"seen": 1}'),
    )


def test_shard_moves_on_under_the_lease(migrated):
    seed_shard(migrated, epoch=5, frame=100)
    advance(migrated, 5, 100, 120)
    found = migrated.execute("SELECT last_frame, trade_high FROM market.shards WHERE shard = 3")
    assert found.fetchone() == (120, {"seen": 1})


@pytest.mark.parametrize("epoch", [4, 6])
def test_writer_of_another_epoch_is_fenced(migrated, epoch):
    seed_shard(migrated, epoch=5, frame=100)
    with pytest.raises(psycopg.Error, match=f"fenced: lease shard-3 is at epoch 5.* {epoch}") as e:
        advance(migrated, epoch, 100, 120)
    assert e.value.sqlstate == "TL001"


def test_writer_without_a_lease_is_fenced(migrated):
    with pytest.raises(psycopg.Error, match="fenced: lease shard-8 is at epoch none") as e:
        advance(migrated, 1, 0, 1, shard=8)
    assert e.value.sqlstate == "TL001"


@pytest.mark.parametrize("old", [99, 101])
def test_batch_that_does_not_follow_the_last_one_is_refused(migrated, old):
    seed_shard(migrated, epoch=5, frame=100)
    with pytest.raises(psycopg.Error, match=f"moved: shard 3 is not at frame {old}") as e:
        advance(migrated, 5, old, 120)
    assert e.value.sqlstate == "TL002"


def test_lease_cannot_be_taken_between_the_check_and_the_commit(migrated, migrated_dsn):
    seed_shard(migrated, epoch=5, frame=100)
    advance(migrated, 5, 100, 120)
    take = "UPDATE market.leases SET epoch = epoch + 1 WHERE name = 'shard-3'"
    with psycopg.connect(migrated_dsn, options="-c lock_timeout=100ms") as successor:
        with pytest.raises(errors.LockNotAvailable):
            successor.execute(take)
        successor.rollback()
        migrated.commit()
        assert successor.execute(take).rowcount == 1


def catalog(dsn: str, warehouse: str, epoch: int | None) -> SqlCatalog:
    """Open pyiceberg's catalog as a committer that holds this epoch."""
    uri = dsn.replace("postgresql://", "postgresql+psycopg://")
    if epoch is not None:
        uri += f"?options=-c%20ticklake.epoch%3D{epoch}"
    return SqlCatalog("ticklake", uri=uri, warehouse=warehouse)


def feed_gap(gap_id: int) -> pa.Table:
    """Return one row of feed_gaps."""
    row = {"gap_id": gap_id, "feed": "sim", "connection": 1, "kind": "silence", "shard": 0}
    times = {"gap_from": 0, "detected_time": 1}
    return pa.Table.from_pylist([{**row, **times}], schema=arrow_schema(load("feed_gaps")))


@pytest.fixture
def lake_at_epoch_2(migrated, migrated_dsn, tmp_path) -> tuple[SqlCatalog, SqlCatalog]:
    """Return the catalogs of the committer at epoch 2 and of its predecessor."""
    migrated.execute("INSERT INTO market.leases (name, epoch) VALUES ('committer', 2)")
    migrated.commit()
    current = catalog(migrated_dsn, f"file://{tmp_path}", 2)
    current.create_namespace("market")
    contract = load("feed_gaps")
    current.create_table("market.feed_gaps", iceberg_schema(contract))
    yield current, (stale := catalog(migrated_dsn, f"file://{tmp_path}", 1))
    current.engine.dispose()
    stale.engine.dispose()


def test_pyiceberg_works_on_the_migrated_catalog(lake_at_epoch_2):
    current, _ = lake_at_epoch_2
    contract = load("crypto_trades")
    table = current.create_table(
        "market.crypto_trades",
        iceberg_schema(contract),
        partition_spec=partition_spec(contract),
        sort_order=sort_order(contract),
    )
    assert [field.field_id for field in table.schema().fields] == list(range(1, 13))
    gaps = current.load_table("market.feed_gaps")
    gaps.append(feed_gap(1))
    gaps.append(feed_gap(2))
    found = current.load_table("market.feed_gaps").scan().to_arrow()
    assert sorted(found["gap_id"].to_pylist()) == [1, 2]
    assert current.list_tables("market") == [("market", "crypto_trades"), ("market", "feed_gaps")]


def test_stale_committer_cannot_swap_the_pointer_nor_drop_a_table(lake_at_epoch_2):
    current, stale = lake_at_epoch_2
    with pytest.raises(sqlalchemy.exc.DBAPIError, match=r"fenced: lease committer.* 2") as e:
        stale.load_table("market.feed_gaps").append(feed_gap(9))
    assert e.value.orig.sqlstate == "TL001"
    with pytest.raises(sqlalchemy.exc.DBAPIError, match="fenced:"):
        stale.drop_table("market.feed_gaps")
    assert current.load_table("market.feed_gaps").scan().to_arrow().num_rows == 0


def test_maintenance_that_names_no_epoch_is_let_through(lake_at_epoch_2, migrated_dsn, tmp_path):
    current, _ = lake_at_epoch_2
    other = catalog(migrated_dsn, f"file://{tmp_path}", None)
    other.load_table("market.feed_gaps").append(feed_gap(1))
    other.engine.dispose()
    assert current.load_table("market.feed_gaps").scan().to_arrow().num_rows == 1

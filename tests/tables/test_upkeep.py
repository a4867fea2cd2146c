"""Upkeep: small files become large, snapshots go, files go after a grace, and no row ever does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from lake.hot.lease import COMMITTER, take
from lake.tables.catalog import open_catalog
from lake.tables.lake_table import LakeTable
from lake.tables.upkeep import Upkeep, UpkeepLimits
from lake.views.client import Client
from tests.path.lakehouse import Lakehouse, stream

FUTURE_US = 1 << 60
MERGE_FACTOR = UpkeepLimits().merge_factor
SNAPSHOTS_MAX = UpkeepLimits().snapshots_max
DATASET = "crypto_trades"


@pytest.fixture
def rows(migrated_dsn: str, tmp_path: Path) -> pa.Table:
    """Return a few trades, by way of a small lakehouse."""
    lakehouse = Lakehouse(migrated_dsn, tmp_path / "other")
    lakehouse.journal(stream(0, 5))
    assert lakehouse.move() == 0
    with Client(migrated_dsn) as client:
        return client.arrow(f"SELECT * FROM {DATASET} ORDER BY seq")


@pytest.fixture
def table(rows: pa.Table, migrated_dsn: str) -> Iterator[LakeTable]:
    with psycopg.connect(migrated_dsn, autocommit=True) as connection:
        lease = take(connection, COMMITTER)
    assert lease is not None
    with closing(open_catalog(migrated_dsn, "", epoch=lease.epoch)) as catalog:
        yield LakeTable(catalog, DATASET, epoch=lease.epoch)


@pytest.fixture
def append(table: LakeTable, rows: pa.Table) -> Callable[[int], None]:
    def several(times: int) -> None:
        for _ in range(times):
            table.refresh()
            table.append(rows, table.holdings().through)

    return several


@pytest.fixture
def upkeep(table: LakeTable, migrated_dsn: str) -> Iterator[Upkeep]:
    columns = ["ticker", "event_time", "seq"]
    with closing(open_catalog(migrated_dsn, "", epoch=table.epoch)) as catalog:
        yield Upkeep(catalog, DATASET, columns, epoch=table.epoch, commit_lock=threading.Lock())


def count(dsn: str) -> int:
    with Client(dsn) as client:
        return int(client.arrow(f"SELECT count(*) AS n FROM lake.{DATASET}")["n"][0].as_py())


def test_small_files_become_one_sorted_file_with_the_same_rows(
    append: Callable[[int], None], upkeep: Upkeep, table: LakeTable, migrated_dsn: str
) -> None:
    append(MERGE_FACTOR - 1)
    before = count(migrated_dsn)
    through = table.holdings().through
    merged = upkeep.merge()
    assert merged is not None
    assert (merged.files_before, merged.files_after) == (MERGE_FACTOR, 1)
    assert merged.rows == before == count(migrated_dsn)
    table.refresh()
    assert table.holdings().through == through
    assert not table.holdings().rolled_back
    assert upkeep.merge() is None


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
    append: Callable[[int], None], upkeep: Upkeep, table: LakeTable, migrated_dsn: str
) -> None:
    append(SNAPSHOTS_MAX + 1)
    before = count(migrated_dsn)
    freed = upkeep.expire()
    assert freed
    assert upkeep.remove(freed) == len(freed)
    assert count(migrated_dsn) == before
    table.refresh()
    assert len(table.table.metadata.snapshots) < SNAPSHOTS_MAX


def test_files_of_a_commit_that_died_are_found_and_no_other(
    append: Callable[[int], None], upkeep: Upkeep, table: LakeTable, migrated_dsn: str
) -> None:
    append(3)
    left = Path(table.table.location().removeprefix("file://")) / "data" / "left.parquet"
    left.write_bytes(b"half a file")
    assert upkeep.orphans(FUTURE_US) == [f"file://{left}"]
    assert upkeep.orphans(0) == []
    assert upkeep.remove([f"file://{left}"]) == 1
    assert not left.exists()
    assert count(migrated_dsn) == 15 * 4

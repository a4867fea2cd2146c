"""The archive in a bucket of a real store: what goes there is proven, audited, and deleted."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from lake.archive.book import held_files
from lake.archive.place import ArchivePlace, archive_of
from lake.audit.checksums import check_archive
from lake.errors import Damaged
from lake.steps import LostAnswer, Steps
from lake.tables.warehouse_io import WarehouseIO
from lake.warehouse import Bucket, warehouse_of
from tests.retention.test_retention import LEFT_ARCHIVE, LEFT_LAKE, ROWS, OldHouse


class StoredHouse(OldHouse):
    """The same house, its lake and its archive in the stack's bucket."""

    kept: ArchivePlace

    @property
    def archive_place(self) -> ArchivePlace:
        return self.kept

    @property
    def io(self) -> WarehouseIO:
        return WarehouseIO(self.kept.place.iceberg_properties())

    def files(self) -> list[str]:
        """Return the locations of the archive's files, as the store lists them."""
        return [each.location for each in self.io.listed(self.kept.place.location)]

    def faults(self) -> list[str]:
        """Return what an audit finds wrong with the archive."""
        with psycopg.connect(self.dsn) as connection:
            return list(check_archive(held_files(connection), self.kept).faults)


@pytest.fixture
def house(stack: Path, migrated_dsn: str) -> Iterator[StoredHouse]:
    whole, own = warehouse_of(stack), f"test-{uuid.uuid4().hex}"
    assert isinstance(whole, Bucket)
    place = replace(whole, location=f"{whole.location}/market/{own}")
    house = StoredHouse(migrated_dsn, place)
    house.kept = archive_of(stack, f"s3://{whole.name}/archive/{own}")
    house.start_shard(0)
    house.take(ROWS)
    house.commit()
    house.roll()
    house.look(LEFT_LAKE - timedelta(hours=1))
    yield house
    for path in house.files():
        house.kept.delete(path)
    house.close()


def test_a_day_is_archived_in_the_bucket_and_deleted_when_its_age_has_come(
    house: StoredHouse,
) -> None:
    before = house.seen("crypto_trades")
    house.retain(LEFT_LAKE)
    assert house.seen("crypto_trades") == []
    assert house.archived() == before
    assert len(house.files()) == 1
    assert house.faults() == []
    house.assert_proven()
    house.retain(LEFT_ARCHIVE)
    assert house.files() == []
    house.assert_proven()


@pytest.mark.parametrize("step", ["retain.write", "retain.enter", "retain.commit", "retain.left"])
def test_a_run_that_dies_is_completed_by_the_next(house: StoredHouse, step: str) -> None:
    before = house.seen("crypto_trades")
    with suppress(LostAnswer):
        house.retain(LEFT_LAKE, Steps({step: ("lost-answer", 1)}))
    house.assert_proven()
    house.retain(LEFT_LAKE)
    assert house.archived() == before
    assert len(house.files()) == 1
    house.assert_proven()


def test_an_object_that_was_changed_or_is_gone_is_a_fault_of_the_audit(house: StoredHouse) -> None:
    house.retain(LEFT_LAKE)
    (path,) = house.files()
    house.kept.write(path, house.kept.read("crypto_trades", path).slice(1))
    (changed,) = house.faults()
    assert "its bytes have changed" in changed
    house.kept.delete(path)
    house.kept.delete(path)  # which is gone by now
    (gone,) = house.faults()
    assert path in gone
    with pytest.raises(Damaged, match="restore the file"):
        house.kept.read("crypto_trades", path)

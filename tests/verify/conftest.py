"""A lakehouse per test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.verify.lakehouse import Lakehouse


@pytest.fixture
def lakehouse(migrated_dsn: str, tmp_path: Path) -> Iterator[Lakehouse]:
    house = Lakehouse(migrated_dsn, tmp_path / "warehouse")
    yield house
    house.close()


@pytest.fixture
def written(lakehouse: Lakehouse) -> Lakehouse:
    """Ten frames in hot and lake, ten more in hot alone; two shards."""
    lakehouse.write()
    lakehouse.write(shard=1)
    lakehouse.commit()
    lakehouse.write()
    return lakehouse

"""Design 3.9: the journal stays within its budget without anybody calling verify."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infra.servers.process import wait_until
from lake.clock import SystemClock
from tests.path.market import Home, Market, interrupted

MEBIBYTE = 1 << 20
SEAL_S_MAX = 240.0
FIRST = "0000000001.journal"


@pytest.fixture
def home(migrated_dsn: str, tmp_path: Path) -> Iterator[Home]:
    home = Home(migrated_dsn, tmp_path / "home")
    yield home
    home.close()


def sealed(home: Home) -> bool:
    with psycopg.connect(home.dsn) as connection:
        row = connection.execute("SELECT count(*) FROM market.sealed_segments").fetchone()
    return row is not None and row[0] > 0


def deleted(home: Home) -> bool:
    return sealed(home) and not (home.path / "journal" / "shard-0" / FIRST).exists()


def test_an_ingest_seals_and_deletes_what_it_has_proven(home: Home, tmp_path: Path) -> None:
    home.settings["TICKLAKE_JOURNAL_SEGMENT_BYTES_MAX"] = str(MEBIBYTE)
    home.settings["TICKLAKE_JOURNAL_KEEP_HOURS"] = "0"
    with Market(tmp_path, rate=5_000) as market:
        ingest = home.start("ingest", "sim", "--url", market.url)
        assert wait_until(SystemClock(), lambda: deleted(home), SEAL_S_MAX)
        done = interrupted(ingest)
    assert done.code == 0, done.err
    assert any((home.path / "journal" / "shard-0").glob("*.journal"))
    home.assert_verified()

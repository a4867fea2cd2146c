"""Compressed chunks, on the edition that has them, read like any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lake.hot.hot_reader import HotReader
from lake.views.client import Client
from tests.verify.lakehouse import Lakehouse, trade

COMPRESS = "SELECT count(compress_chunk(c, if_not_compressed => true)) FROM show_chunks(%s) AS c"


@pytest.fixture
def edition() -> str:
    """Run on the Community edition alone: the others do not compress."""
    return "community"


@pytest.fixture
def house(edition_dsn: str, tmp_path: Path) -> Iterator[Lakehouse]:
    """Yield a lakehouse of which hot and lake hold the first 30 frames."""
    house = Lakehouse(edition_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    house.write(frames=30)
    house.commit()
    yield house
    house.close()


def compress(house: Lakehouse) -> None:
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        assert connection.execute(COMPRESS, ("market.crypto_trades",)).fetchone() == (1,)


def test_ages_and_order_are_the_contract_s(edition_dsn: str) -> None:
    with psycopg.connect(edition_dsn) as connection:
        policies = connection.execute(
            "SELECT hypertable_name, config ->> 'compress_after'"
            " FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression' ORDER BY 1"
        ).fetchall()
        settings = connection.execute(
            "SELECT segmentby, orderby FROM timescaledb_information.hypertable_compression_settings"
            " WHERE hypertable::text = 'market.crypto_trades'"
        ).fetchall()
    assert policies == [
        ("crypto_aggregates", "7 days"),
        ("crypto_quotes", "1 day"),
        ("crypto_trades", "1 day"),
        ("market_sentiment", "7 days"),
    ]
    assert settings == [("ticker", "event_time DESC,seq DESC")]


def test_the_server_compresses_old_days_by_itself(house: Lakehouse) -> None:
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        (job,) = connection.execute(
            "SELECT job_id FROM timescaledb_information.jobs"
            " WHERE proc_name = 'policy_compression' AND hypertable_name = 'crypto_trades'"
        ).fetchone()
        connection.execute(f"CALL run_job({job})".encode())
        found = connection.execute(
            "SELECT is_compressed FROM timescaledb_information.chunks"
            " WHERE hypertable_name = 'crypto_trades'"
        ).fetchall()
    assert found == [(True,)]


def test_every_reader_finds_the_same_rows(house: Lakehouse) -> None:
    def read() -> tuple[object, ...]:
        reader = HotReader(house.dsn)
        found = reader.rows("crypto_trades", 0, 0, 30).sort_by("seq")
        reader.close()
        with Client(house.dsn) as client:
            return found, client.arrow("FROM hot.crypto_trades ORDER BY seq")

    before = read()
    compress(house)
    assert read() == before
    assert before[0].num_rows == 90


def test_verify_holds_over_compression_and_late_rows(house: Lakehouse) -> None:
    assert house.verify().holds
    compress(house)
    assert house.verify().holds
    house.write(frames=2)
    assert house.verify().holds
    compress(house)
    assert house.verify().holds
    assert house.verify(full=True).holds


def test_verify_finds_a_row_changed_in_a_compressed_day(house: Lakehouse) -> None:
    compress(house)
    assert house.verify().holds
    house.sql("UPDATE market.crypto_trades SET side = 'sell' WHERE seq = 131072")
    assert [fault.tier for fault in house.verify().faults] == ["hot"]


def test_a_reader_of_new_rows_passes_compressed_ones_by(house: Lakehouse) -> None:
    """It asks beyond a seq: bounds of seq stand with each batch of compressed rows."""
    many = [trade(frame, i) for frame in range(31, 5_031) for i in range(3)]
    house.write(frames=5_000, tables={"crypto_trades": many})
    compress(house)
    with psycopg.connect(house.dsn) as connection:
        lines = connection.execute(
            "EXPLAIN (ANALYZE, TIMING off, COSTS off) SELECT * FROM market.crypto_trades"
            " WHERE shard = 0 AND seq > %s",
            (5_029 << 16,),
        ).fetchall()
    plan = "\n".join(line for (line,) in lines)
    assert "_ts_meta_max_2 >" in plan
    assert "Rows Removed by Filter" in plan

"""Daily partitions: there before the rows, made once, dropped without stalling writers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import psycopg
import pytest

from lake.contracts.contract import TICK_DATASETS
from lake.errors import Unavailable, WrongUse
from lake.hot.partitions import drop_partition, ensure_partitions, existing_partitions, summarize

DAY = date(2024, 8, 8)
INSERT = (
    "INSERT INTO market.crypto_trades VALUES"
    " ('X:BTCUSD', 'binance', 'spot', '1', %s, %s, 1, 1, 'buy', NULL, 0, 65536)"
)


@pytest.fixture
def connection(migrated_dsn: str) -> Iterator[psycopg.Connection]:
    """Connect to a migrated database."""
    with psycopg.connect(migrated_dsn, autocommit=True) as opened:
        yield opened


@pytest.mark.parametrize("dataset", TICK_DATASETS)
def test_partition_is_made_once_and_named_by_its_day(connection, dataset):
    name = f"market.{dataset}_p20240808"
    assert ensure_partitions(connection, dataset, [DAY, DAY]) == [name]
    assert ensure_partitions(connection, dataset, [DAY]) == []
    assert existing_partitions(connection, dataset) == {DAY: name}


def test_day_is_the_utc_day_whatever_the_session_thinks(connection):
    connection.execute("SET TimeZone = 'Pacific/Auckland'")
    ensure_partitions(connection, "crypto_trades", [DAY, DAY + timedelta(days=1)])
    for time in ("2024-08-08 00:00:00+00", "2024-08-08 23:59:59.999999+00", "2024-08-09 00:00+00"):
        connection.execute(INSERT, (time, time))
    rows = connection.execute(
        "SELECT tableoid::regclass::text, count(*) FROM market.crypto_trades GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert rows == [("market.crypto_trades_p20240808", 2), ("market.crypto_trades_p20240809", 1)]


def test_partition_has_the_indexes_of_its_table(connection):
    ensure_partitions(connection, "crypto_trades", [DAY])
    rows = connection.execute(
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'crypto_trades_p20240808' ORDER BY 1"
    ).fetchall()
    assert [row[0].split(" USING ")[1].split(" WITH ")[0] for row in rows] == [
        "brin (event_time)",
        "brin (market.place(shard, seq) int8_minmax_multi_ops)",
        "brin (seq)",
        "brin (ticker, event_time)",
    ]


def test_known_days_cost_no_statement(connection):
    known = {("crypto_trades", DAY)}
    connection.close()
    assert ensure_partitions(connection, "crypto_trades", [DAY], known) == []


def test_call_adds_to_what_is_known(connection):
    ensure_partitions(connection, "crypto_trades", [DAY])
    known: set[tuple[str, date]] = set()
    ensure_partitions(connection, "crypto_trades", [DAY + timedelta(days=1)], known)
    assert known == {("crypto_trades", DAY), ("crypto_trades", DAY + timedelta(days=1))}


def test_callers_at_once_make_each_partition_once_between_them(migrated_dsn):
    days = [DAY + timedelta(days=n) for n in range(5)]

    def one(_: int) -> list[str]:
        with psycopg.connect(migrated_dsn) as opened:
            return ensure_partitions(opened, "crypto_quotes", days)

    with ThreadPoolExecutor(4) as pool:
        made = [name for each in pool.map(one, range(4)) for name in each]
    assert sorted(made) == [f"market.crypto_quotes_p{day:%Y%m%d}" for day in days]


def test_partition_is_made_beside_an_open_transaction_that_writes(connection, migrated_dsn):
    ensure_partitions(connection, "crypto_trades", [DAY])
    connection.execute("SET lock_timeout = '1s'")
    with psycopg.connect(migrated_dsn) as writer:
        writer.execute(INSERT, ("2024-08-08 01:00+00", "2024-08-08 01:00+00"))
        made = ensure_partitions(connection, "crypto_trades", [DAY + timedelta(days=1)])
        assert made == ["market.crypto_trades_p20240809"]


def test_dropped_day_is_gone_with_its_rows_and_others_stay(connection):
    days = [DAY, DAY + timedelta(days=1)]
    ensure_partitions(connection, "crypto_trades", days)
    for day in days:
        connection.execute(INSERT, (f"{day} 01:00+00", f"{day} 01:00+00"))
    assert drop_partition(connection, "crypto_trades", DAY)
    assert not drop_partition(connection, "crypto_trades", DAY)
    assert list(existing_partitions(connection, "crypto_trades")) == days[1:]
    assert connection.execute("SELECT count(*) FROM market.crypto_trades").fetchone() == (1,)


def test_drop_gives_up_soon_when_a_writer_is_at_it(connection, migrated_dsn):
    ensure_partitions(connection, "crypto_trades", [DAY])
    with psycopg.connect(migrated_dsn) as writer:
        writer.execute(INSERT, ("2024-08-08 01:00+00", "2024-08-08 01:00+00"))
        with pytest.raises(Unavailable, match=r"market\.crypto_trades_p20240808: in use"):
            drop_partition(connection, "crypto_trades", DAY)
    assert drop_partition(connection, "crypto_trades", DAY)


def test_summarized_partition_is_read_by_its_range_alone(connection):
    """Fresh rows, no statistics: a query of the tail must not read the day."""
    ensure_partitions(connection, "crypto_trades", [DAY])
    connection.execute(
        "INSERT INTO market.crypto_trades SELECT 'X:BTCUSD', 'binance', 'spot', i::text, %s, %s,"
        " 1, 1, 'buy', NULL, 0, i FROM generate_series(1, 50000) AS i",
        ("2024-08-08 12:00+00", "2024-08-08 12:00+00"),
    )
    connection.execute("SET enable_seqscan = off")  # as every reader of ours has it
    query = (
        "EXPLAIN (ANALYZE, FORMAT JSON, TIMING off) SELECT * FROM market.crypto_trades"
        " WHERE shard = 0 AND seq > 49990"
    )

    assert summarize(connection, "crypto_trades", [DAY]) > 0
    assert summarize(connection, "crypto_trades", [DAY]) == 0
    plan = connection.execute(query).fetchone()[0][0]["Plan"]
    assert "Rows Removed by Index Recheck" in str(plan)
    assert find(plan, "Rows Removed by Index Recheck") < 10_000


def find(plan, key):
    """Return a figure of a plan, wherever in it."""
    below = [find(each, key) for each in plan.get("Plans", ())]
    return max([plan.get(key, 0), *below])


def test_partition_in_a_vacuum_is_summarized_another_time(connection, migrated_dsn):
    ensure_partitions(connection, "crypto_trades", [DAY])
    connection.execute(INSERT, ("2024-08-08 12:00+00", "2024-08-08 12:00+00"))
    with psycopg.connect(migrated_dsn) as other:
        other.execute("LOCK TABLE market.crypto_trades_p20240808 IN SHARE UPDATE EXCLUSIVE MODE")
        assert summarize(connection, "crypto_trades", [DAY]) == 0


def test_drop_inside_a_transaction_is_undone_with_it(connection):
    ensure_partitions(connection, "crypto_trades", [DAY])
    with connection.transaction(force_rollback=True):
        assert drop_partition(connection, "crypto_trades", DAY)
    assert list(existing_partitions(connection, "crypto_trades")) == [DAY]


def test_table_without_partitions_is_wrong_use(connection):
    with pytest.raises(WrongUse, match="instruments: has no partitions"):
        ensure_partitions(connection, "instruments", [DAY])

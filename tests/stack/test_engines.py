"""One lake for three engines: what each writes the others read; one union view in two of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from flows.numbered_to_lake import take
from flows.trades_to_bars import TradesToBars
from lake.client import Client, connect
from lake.clock import ManualClock, SystemClock
from lake.contracts.contract import (
    LAKE_ONLY_DATASETS,
    LEDGER_DATASETS,
    NUMBERED_DATASETS,
    Column,
    load,
)
from lake.errors import BadInput, Unavailable, WrongUse
from lake.hot.bars import HotToBars
from lake.hot.numbered import append
from lake.tables.catalog import ensure_table, open_catalog
from lake.tables.lake_marks import note_mark
from lake.tables.tags import keep_tags
from lake.trino_session import UPKEEP_CATALOG, Trino, connect_trino
from lake.views.engine import attach_warehouse, open_duckdb
from lake.views.publish import publish
from lake.views.trino_views import TRINO_DATASETS, TRINO_VIEWS, publish_views
from lake.views.union_view import AGGREGATE_COLUMNS, AGGREGATES, UNION_DATASETS
from tests.stack.emptied import emptied
from tests.verify.lakehouse import NOON, Lakehouse

SCRATCH = "scratch"
ROWS = pa.table(
    {
        "id": pa.array([1, 2, None], pa.int64()),
        "price": pa.array(
            [Decimal("0.0000000001"), Decimal("-999999999999999999.9999999999"), None],
            pa.decimal128(28, 10),
        ),
        "at": pa.array(
            [datetime(2024, 8, 8, 12, 0, 0, 1, UTC), datetime(1969, 12, 31, 23, tzinfo=UTC), None],
            pa.timestamp("us", "UTC"),
        ),
        "text": pa.array(["", "ü'\"€", None], pa.string()),
        "raw": pa.array([b"", b"\x00\xff", None], pa.binary()),
    }
)


@pytest.fixture
def lakehouse(stack: Path) -> Iterator[Lakehouse]:
    house = Lakehouse(*emptied(stack))
    for dataset in (*UNION_DATASETS, *NUMBERED_DATASETS, *LAKE_ONLY_DATASETS):
        ensure_table(house.catalog, dataset)
    yield house
    house.close()


@pytest.fixture(scope="module")
def published(stack: Path) -> None:
    """Make the views once: they stand whatever becomes of the tables."""
    emptied(stack)
    publish(stack)


@pytest.fixture
def session(stack: Path, published: None, lakehouse: Lakehouse) -> Iterator[Trino]:
    with connect_trino(stack) as found:
        yield found


@pytest.fixture
def client(lakehouse: Lakehouse) -> Iterator[Client]:
    with connect(dsn=lakehouse.dsn, warehouse=lakehouse.place) as found:
        yield found


def commit(lakehouse: Lakehouse) -> None:
    """Commit what hot has, with the note and the name of the snapshot that a committer leaves."""
    lakehouse.commit()
    for dataset in UNION_DATASETS:
        head = lakehouse.table(dataset).current_snapshot()
        if head is not None:
            note_mark(lakehouse.catalog, dataset, head.snapshot_id, lakehouse.frames)
            with lakehouse.table(dataset).transaction() as change:
                change.set_properties({"ticklake.snapshot": str(head.snapshot_id)})


def both(session: Trino, client: Client, query: str) -> list[dict[str, object]]:
    """Return a query's rows, which must be the same from both engines."""
    rows = session.arrow(query).to_pylist()
    assert rows == client.arrow(query).to_pylist()
    return rows


def counts(session: Trino, client: Client) -> dict[object, object]:
    rows = both(
        session,
        client,
        "SELECT shard, count(*) AS n, count(DISTINCT seq) AS keys FROM crypto_trades"
        " GROUP BY shard ORDER BY shard",
    )
    assert all(row["n"] == row["keys"] for row in rows)
    return {row["shard"]: row["n"] for row in rows}


def test_what_one_engine_writes_the_others_read(lakehouse: Lakehouse, session: Trino) -> None:
    with closing(open_catalog(lakehouse.dsn, lakehouse.place)) as catalog:
        forget(catalog)
        scratch = f"{UPKEEP_CATALOG}.{SCRATCH}"
        catalog.create_namespace_if_not_exists(SCRATCH)
        catalog.create_table((SCRATCH, "by_pyiceberg"), ROWS.schema).append(ROWS)
        session.execute(f"CREATE TABLE {scratch}.by_trino AS SELECT * FROM {scratch}.by_pyiceberg")
        # DuckDB has no way into an SQL catalog: it writes the file, the catalog takes it in.
        file = f"{lakehouse.place.location}/by_duckdb.parquet"
        with closing(open_duckdb(["avro", "iceberg"])) as duckdb:
            attach_warehouse(duckdb, lakehouse.place)
            duckdb.register("rows", ROWS)
            duckdb.execute(f"COPY rows TO '{file}' (FORMAT parquet)")
            catalog.create_table((SCRATCH, "by_duckdb"), ROWS.schema).add_files([file])
            for name in ("by_pyiceberg", "by_trino", "by_duckdb"):
                table = catalog.load_table((SCRATCH, name))
                expected = ROWS.to_pylist()
                assert table.scan().to_arrow().to_pylist() == expected, name
                read = duckdb.execute(f"FROM iceberg_scan('{table.metadata_location}')")
                assert read.to_arrow_table().to_pylist() == expected, name
                seen = session.arrow(f"SELECT * FROM {scratch}.{name}")
                assert seen.to_pylist() == expected, name
        forget(catalog)


def forget(catalog: SqlCatalog) -> None:
    if (SCRATCH,) in catalog.list_namespaces():
        for name in catalog.list_tables(SCRATCH):
            catalog.drop_table(name)


def test_both_engines_show_each_row_once_before_and_after_each_commit(
    lakehouse: Lakehouse, session: Trino, client: Client
) -> None:
    assert counts(session, client) == {}
    lakehouse.write()
    assert counts(session, client) == {0: 30}
    commit(lakehouse)
    assert counts(session, client) == {0: 30}
    lakehouse.write()
    lakehouse.write(shard=1)  # one that the lake has not heard of but by its mark
    assert counts(session, client) == {0: 60, 1: 30}
    commit(lakehouse)
    lakehouse.write(frames=1, shard=1)
    assert counts(session, client) == {0: 60, 1: 33}


@pytest.mark.parametrize("dataset", TRINO_DATASETS)
def test_both_engines_show_the_same_rows_to_the_last_digit(
    lakehouse: Lakehouse, session: Trino, client: Client, dataset: str
) -> None:
    for _ in range(2):
        lakehouse.write()
        if not lakehouse.table().current_snapshot():
            commit(lakehouse)
    both(session, client, f"SELECT * FROM {dataset} ORDER BY shard, seq")
    assert [f.name for f in session.arrow(f"SELECT * FROM {dataset} LIMIT 0").schema] == list(
        load(dataset).names
    )


@pytest.mark.parametrize("dataset", sorted(set(NUMBERED_DATASETS) - set(LEDGER_DATASETS)))
def test_both_engines_show_what_flows_write_before_and_after_it_is_in_the_lake(
    lakehouse: Lakehouse, session: Trino, client: Client, dataset: str
) -> None:
    number = NUMBERED_DATASETS[dataset]
    word = next(each.name for each in load(dataset).columns if each.type == "text")
    ours = f"WHERE {word} LIKE '{OF_THIS_TEST}%' ORDER BY {number}"  # flows of the stack write, too
    with psycopg.connect(lakehouse.dsn, autocommit=True) as connection:
        append(connection, dataset, numbered_rows(dataset, range(3)))
        assert len(both(session, client, f"SELECT * FROM {dataset} {ours}")) == 3
        take(lakehouse.dsn, lakehouse.place, dataset)
        append(connection, dataset, numbered_rows(dataset, range(3, 5)))
    assert len(both(session, client, f"SELECT * FROM {dataset} {ours}")) == 5
    assert len(session.execute(f"SELECT {number} FROM lake.market.{dataset} {ours}")) == 3


OF_THIS_TEST = "of this test"


def numbered_rows(dataset: str, numbers: range) -> pa.Table:
    """Return rows of what a flow writes, each unlike the others, nulls among them."""

    def value(column: Column, n: int) -> object:
        if not column.required and n % 2:
            return None
        by_type = {"text": f"{OF_THIS_TEST} ü'\"€ {n}", "time": NOON + timedelta(microseconds=n)}
        return by_type.get(column.type, n)

    columns = [each for each in load(dataset).columns if each.name != NUMBERED_DATASETS[dataset]]
    return pa.table({each.name: [value(each, n) for n in numbers] for each in columns})


def test_both_engines_show_the_same_bars_closed_in_the_lake_and_open_in_hot(
    lakehouse: Lakehouse, session: Trino, client: Client
) -> None:
    lakehouse.write(frames=400)
    with psycopg.connect(lakehouse.dsn, autocommit=True) as connection:
        hot = HotToBars(connection, SystemClock())
        while hot.step():
            continue
    shown = {}
    for minutes in (0, 5):
        clock = ManualClock(int((NOON + timedelta(minutes=minutes)).timestamp()) * 1_000_000)
        with TradesToBars(lakehouse.dsn, lakehouse.place, clock=clock, grace_ms=0) as bars:
            bars.drain()
        for interval in AGGREGATES:
            query = f"SELECT * FROM crypto_agg_{interval} ORDER BY ticker, exchange, market, bucket"
            rows = both(session, client, query)
            assert shown.setdefault(interval, rows) == rows, interval
    # two tickers, seven minutes, five of them closed
    assert {interval: len(rows) for interval, rows in shown.items()} == {
        "1m": 14,
        "5m": 4,
        "1h": 2,
        "1d": 2,
    }
    query = "SELECT * FROM bars WHERE \"interval\" = '1m' ORDER BY ticker, event_time"
    closed = len(both(session, client, query))
    assert closed in (10, 14)  # the stack's own flow, which has the real time, may close the rest


def test_a_table_taken_back_by_others_shows_its_hot_rows_again_in_both(
    lakehouse: Lakehouse, session: Trino, client: Client
) -> None:
    lakehouse.write()
    commit(lakehouse)
    first = lakehouse.table().current_snapshot()
    assert first is not None
    lakehouse.write()
    commit(lakehouse)
    lakehouse.table().manage_snapshots().rollback_to_snapshot(first.snapshot_id).commit()

    assert counts(session, client) == {0: 60}
    assert session.execute("SELECT count(*) FROM lake.market.crypto_trades") == [(30,)]


def test_the_lake_part_can_be_read_as_it_was(lakehouse: Lakehouse, session: Trino) -> None:
    lakehouse.write()
    commit(lakehouse)
    first = lakehouse.table().current_snapshot()
    assert first is not None
    now = datetime.now(UTC)
    keep_tags(lakehouse.catalog, "crypto_trades", now, threading.Lock())
    lakehouse.write()
    commit(lakehouse)
    for when in (
        f"VERSION AS OF {first.snapshot_id}",
        f"VERSION AS OF '{now:day-%Y-%m-%d}'",
        f"TIMESTAMP AS OF from_unixtime({first.timestamp_ms / 1000 + 0.001})",
    ):
        query = f"SELECT count(*) FROM lake.market.crypto_trades FOR {when}"
        assert session.execute(query) == [(30,)], when
    assert session.execute("SELECT count(*) FROM lake.market.crypto_trades") == [(60,)]


def test_views_and_tables_are_documented_by_their_contracts(session: Trino) -> None:
    for catalog in ("ticklake", "lake"):
        for dataset in TRINO_VIEWS:
            contract = load(dataset)
            columns = session.execute(f"SHOW COLUMNS FROM {catalog}.market.{dataset}")
            assert {row[0]: row[3] for row in columns} == {
                column.name: column.meaning for column in contract.columns
            }
            comments = session.execute(
                "SELECT comment FROM system.metadata.table_comments WHERE schema_name = 'market'"
                f" AND catalog_name = '{catalog}' AND table_name = '{dataset}'"
            )
            assert comments == [(contract.description,)], (catalog, dataset)
    described = session.execute("SHOW COLUMNS FROM ticklake.market.crypto_agg_1m")
    assert [row[0] for row in described] == list(AGGREGATE_COLUMNS)
    assert all(row[3] for row in described)


def test_postgresql_is_asked_for_the_tail_and_not_for_what_the_lake_holds(
    lakehouse: Lakehouse, session: Trino
) -> None:
    lakehouse.write(frames=200)
    commit(lakehouse)
    lakehouse.write(frames=1)
    cursor = session.cursor("SELECT count(*) FROM crypto_trades")
    assert cursor.fetchall() == [[603]]
    assert cursor.stats["processedRows"] < 650, cursor.stats


def test_faults_are_one_sentence(stack: Path, lakehouse: Lakehouse, session: Trino) -> None:
    with pytest.raises(WrongUse, match="'nope' cannot be resolved"):
        session.arrow("SELECT nope FROM crypto_trades")
    away = Trino("http://127.0.0.1:1", user="nobody")
    with pytest.raises(Unavailable, match=r"trino at http://127.0.0.1:1: .*ticklake status"):
        away.execute("SELECT 1")
    emptied(stack)
    with pytest.raises(BadInput, match="catalog-name must be ticklake"):
        publish_views(session)


def test_views_are_made_where_one_is_gone_or_they_are_others(
    lakehouse: Lakehouse, session: Trino
) -> None:
    view = "views_upkeep.market.crypto_agg_1d"
    digest = publish_views(session)
    session.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT 1 AS one")
    assert publish_views(session, digest) == digest
    assert session.execute("SELECT one FROM crypto_agg_1d") == [(1,)]  # they were let be
    session.execute(f"DROP VIEW {view}")
    assert publish_views(session, digest) == digest
    assert session.execute("SELECT bucket FROM crypto_agg_1d WHERE false") == []


def test_nothing_can_be_written_through_a_view(session: Trino) -> None:
    with pytest.raises(WrongUse, match="view"):
        session.execute("INSERT INTO crypto_trades (ticker) VALUES ('X:BTCUSD')")


def test_a_statement_that_runs_is_ended_from_another_thread(session: Trino) -> None:
    """So that a drain need not wait for a merge of minutes."""
    over = threading.Event()

    def cut() -> None:
        while not over.wait(0.2):
            session.cancel()

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        with pytest.raises(WrongUse, match="cancel"):
            session.execute(
                "SELECT count(*) FROM UNNEST(sequence(1, 10000)) AS a (x)"
                " CROSS JOIN UNNEST(sequence(1, 10000)) AS b (y)"
                " CROSS JOIN UNNEST(sequence(1, 10000)) AS c (z) WHERE x * y % 7 = z"
            )
    finally:
        over.set()
        thread.join()
    assert session.execute("SELECT 1") == [(1,)]

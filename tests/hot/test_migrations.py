"""Migrations come once, in order, whole, and make the tables that the contracts name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import errors
from pyiceberg.catalog.sql import SqlCatalog

from lake.contracts.contract import DATASETS, LAKE_ONLY_DATASETS, load
from lake.contracts.postgres_ddl import create_table_sql
from lake.errors import BadInput, WrongUse
from lake.hot.migrations import migrate
from warehouse_sql.statement import Migration, migrations

HOT_DATASETS = [dataset for dataset in DATASETS if dataset not in LAKE_ONLY_DATASETS]

FIRST = Migration(
    1, "first", "CREATE TABLE market.first (n int); INSERT INTO market.first VALUES (1)"
)
SECOND = Migration(2, "second", "ALTER TABLE market.first ADD COLUMN m int")


@pytest.fixture
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    """Connect to an empty database."""
    with psycopg.connect(postgres_dsn) as opened:
        yield opened


@pytest.fixture
def migrated(connection: psycopg.Connection) -> psycopg.Connection:
    """Connect to a database that has every migration."""
    migrate(connection)
    return connection


def names(found: list[str]) -> list[str]:
    """Return the migrations' names without their numbers."""
    return [name.split("_", 1)[1] for name in found]


def test_files_are_numbered_from_one_without_holes():
    assert [each.version for each in migrations()] == list(range(1, len(migrations()) + 1))


def test_every_file_is_applied_once_and_recorded_with_its_checksum(connection):
    assert len(migrate(connection)) == len(migrations())
    assert migrate(connection) == []
    rows = connection.execute(
        "SELECT version, name, sha256, applied_at <= now() FROM market.schema_migrations ORDER BY 1"
    ).fetchall()
    assert rows == [(each.version, each.name, each.sha256, True) for each in migrations()]


def test_new_file_is_applied_after_the_old_ones(connection):
    assert names(migrate(connection, [FIRST])) == ["first"]
    assert names(migrate(connection, [FIRST, SECOND])) == ["second"]
    assert connection.execute("SELECT n, m FROM market.first").fetchall() == [(1, None)]


def test_movers_of_before_the_book_of_staged_files_are_fenced(connection):
    book = next(n for n, each in enumerate(migrations()) if each.name == "staged_files")
    migrate(connection, migrations()[:book])
    names = ["committer", "flow", "shard-0", "shard-11"]
    connection.execute(
        "INSERT INTO market.leases (name, epoch, owner)"
        " SELECT n, 7, 'me' FROM unnest(%s::text[]) AS n",
        (names,),
    )
    connection.commit()
    migrate(connection)
    found = connection.execute("SELECT name, epoch, owner FROM market.leases ORDER BY 1").fetchall()
    fenced = {"committer", "shard-0", "shard-11"}
    assert found == [(n, 8, None) if n in fenced else (n, 7, "me") for n in names]


def test_edited_file_is_refused_and_nothing_new_applied(connection):
    migrate(connection, [FIRST])
    edited = replace(FIRST, text=FIRST.text + " ")
    with pytest.raises(BadInput, match="migration 0001_first: edited after it was applied"):
        migrate(connection, [edited, SECOND])
    assert migrate(connection, [FIRST]) == []


def test_database_ahead_of_the_files_is_refused(connection):
    migrate(connection, [FIRST, SECOND])
    with pytest.raises(BadInput, match="migration 0002_second: the database has it"):
        migrate(connection, [FIRST])


def test_file_numbered_below_an_applied_one_is_refused(connection):
    migrate(connection, [replace(FIRST, version=5)])
    with pytest.raises(BadInput, match="migration 0002_second: numbered below"):
        migrate(connection, [SECOND, replace(FIRST, version=5)])


def test_failing_file_leaves_nothing_and_the_ones_before_it_stay(connection):
    broken = Migration(2, "broken", "CREATE TABLE market.half (n int); SELECT 1 / 0")
    with pytest.raises(errors.DivisionByZero):
        migrate(connection, [FIRST, broken])
    found = connection.execute("SELECT to_regclass('market.first'), to_regclass('market.half')")
    assert found.fetchone() == ("market.first", None)
    connection.rollback()
    assert names(migrate(connection, [FIRST, SECOND])) == ["second"]


def test_open_transaction_is_wrong_use(connection):
    connection.execute("SELECT 1")
    with pytest.raises(WrongUse, match="migrate: a transaction is open"):
        migrate(connection)


def test_callers_at_once_apply_each_file_once_between_them(postgres_dsn):
    def one(_: int) -> list[str]:
        with psycopg.connect(postgres_dsn) as opened:
            return migrate(opened)

    with ThreadPoolExecutor(4) as pool:
        applied = [name for each in pool.map(one, range(4)) for name in each]
    assert sorted(applied) == [f"{each.version:04d}_{each.name}" for each in migrations()]


def test_tables_are_what_the_contracts_derive(migrated):
    migrated.execute("CREATE SCHEMA derived")
    for dataset in HOT_DATASETS:
        migrated.execute(create_table_sql(load(dataset), "derived").encode())
    assert shape(migrated, "market") == shape(migrated, "derived")


def test_columns_are_those_of_the_contracts_in_order(migrated):
    for dataset in HOT_DATASETS:
        contract = load(dataset)
        rows = migrated.execute(
            "SELECT attname, format_type(atttypid, atttypmod), attnotnull,"
            " col_description(attrelid, attnum) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND attgenerated = '' ORDER BY attnum",
            (f"market.{dataset}",),
        ).fetchall()
        kinds = {"timestamptz": "timestamp with time zone"}
        assert rows == [
            (
                column.name,
                kinds.get(column.physical_type, column.physical_type),
                column.required,
                f"{column.description} [{column.unit}]" if column.unit else column.description,
            )
            for column in contract.columns
        ]


def test_rules_of_the_contracts_run_in_postgresql(migrated):
    for dataset in HOT_DATASETS:
        for rule in load(dataset).rules:
            query = rule.query.replace("${object}", f"market.{dataset}")
            assert migrated.execute(query.encode()).fetchone() == (0,), rule.name


def test_tick_tables_have_block_range_indexes_and_no_unique_one(migrated):
    rows = migrated.execute(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'market' AND tablename = %s",
        ("crypto_trades",),
    ).fetchall()
    text = "\n".join(sorted(row[0] for row in rows))
    assert text.count("USING brin") == 4
    assert text.count("pages_per_range='32', autosummarize='on'") == 2
    assert text.count("pages_per_range='128', autosummarize='on'") == 2
    assert "UNIQUE" not in text


@given(texts=st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), max_size=20))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_slice_is_the_first_half_of_md5_read_little_endian(migrated, texts):
    rows = migrated.execute(
        "SELECT market.digest_slice(each) FROM unnest(%s::text[]) WITH ORDINALITY AS t(each, n)"
        " ORDER BY n",
        (texts,),
    ).fetchall()
    halves = [hashlib.md5(text.encode()).digest()[:8] for text in texts]
    assert [int(row[0]) for row in rows] == [int.from_bytes(half, "little") for half in halves]


def test_json_that_the_database_cannot_hold_becomes_null_and_stops_nothing(migrated):
    texts = ['{"a": 1}', '{"a": "\\u0000"}', '{"a": 1e999999}', "nonsense", None, "[" * 100_000]
    rows = migrated.execute(
        "SELECT market.json_or_null(each) FROM unnest(%s::text[]) AS each", (texts,)
    ).fetchall()
    assert rows == [({"a": 1},), (None,), (None,), (None,), (None,), (None,)]


def test_catalog_tables_are_those_that_pyiceberg_would_make(migrated, databases):
    name = databases.create()
    theirs = SqlCatalog("ticklake", uri=databases.dsn(name).replace("://", "+psycopg://"))
    with psycopg.connect(databases.dsn(name)) as fresh:
        assert shape(migrated, "public") == shape(fresh, "public")
    theirs.engine.dispose()
    databases.drop(name)


def test_reader_reads_every_table_and_writes_none(migrated):
    migrated.execute("GRANT market_reader TO CURRENT_USER")
    migrated.execute("SET ROLE market_reader")
    assert migrated.execute("SELECT count(*) FROM market.crypto_trades").fetchone() == (0,)
    assert migrated.execute("SELECT count(*) FROM public.iceberg_tables").fetchone() == (0,)
    with pytest.raises(errors.InsufficientPrivilege):
        migrated.execute("DELETE FROM market.ledger_minutes")


def shape(connection: psycopg.Connection, schema: str) -> list[tuple[object, ...]]:
    """Return all that tells tables apart, of a schema's datasets and catalog tables."""
    wanted = [*HOT_DATASETS, "iceberg_tables", "iceberg_namespace_properties"]
    return connection.execute(
        "SELECT c.relname, c.relkind, pg_get_partkeydef(c.oid), obj_description(c.oid), a.attnum,"
        " a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated,"
        " pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum),"
        " (SELECT pg_get_constraintdef(k.oid) FROM pg_constraint AS k"
        "  WHERE k.conrelid = c.oid AND k.contype = 'p')"
        " FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0"
        " LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum"
        " WHERE c.relnamespace = %s::regnamespace AND c.relname = ANY(%s) ORDER BY 1, 5",
        (schema, wanted),
    ).fetchall()

"""The ledger's arithmetic: the same totals in DuckDB and PostgreSQL, and md5 as hashlib has it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import duckdb
import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake import ledger
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import Column, load

DAY = datetime(2024, 8, 8, tzinfo=UTC)

ROW = {
    "ticker": "X:BTCUSD",
    "exchange": "sim:1",
    "market": "spot",
    "trade_id": None,
    "event_time": datetime(2024, 8, 8, 12, 30, 59, 999_999, UTC),
    "received_time": datetime(2024, 8, 8, 12, 31, tzinfo=UTC),
    "price": Decimal("33021.9"),
    "size": Decimal("0.01616617"),
    "side": "buy",
    "conditions": None,
    "shard": 3,
    "seq": 65_536,
}
TEXT = (
    "X:BTCUSD|sim:1|spot|~|1723120259999999|1723120260000000|33021.9000000000|0.0161661700|buy|~|"
    "3|65536"
)


@pytest.fixture
def calculator() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def table_of(dataset: str, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=arrow_schema(load(dataset)))


def test_slice_is_first_eight_bytes_of_md5_little_endian(
    calculator: duckdb.DuckDBPyConnection,
) -> None:
    totals = ledger.batch_totals(calculator, "crypto_trades", table_of("crypto_trades", [ROW]))

    expected = int.from_bytes(hashlib.md5(TEXT.encode()).digest()[:8], "little")
    assert totals.to_pylist() == [
        {
            "dataset": "crypto_trades",
            "ticker": "X:BTCUSD",
            "minute": datetime(2024, 8, 8, 12, 30, tzinfo=UTC),
            "rows": 1,
            "sum_a": Decimal("33021.9"),
            "sum_b": Decimal("0.01616617"),
            "digest": Decimal(expected),
        }
    ]
    assert totals.schema == ledger.TOTALS_SCHEMA


def test_totals_of_no_rows_have_no_minutes(calculator: duckdb.DuckDBPyConnection) -> None:
    totals = ledger.batch_totals(calculator, "quarantine", table_of("quarantine", []))

    assert totals.num_rows == 0
    assert totals.schema == ledger.TOTALS_SCHEMA


def values(column: Column, *, always: bool = False) -> st.SearchStrategy[Any]:
    anything = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=6)
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "text": anything | st.text("|~\\", max_size=3),
        "decimal": st.decimals(
            Decimal("-1e17"), Decimal("1e17"), places=10, allow_nan=False, allow_infinity=False
        ),
        "time": st.integers(0, 86_400_000_000 - 1).map(lambda us: DAY + timedelta(microseconds=us)),
        "int16": st.integers(-(2**15), 2**15 - 1),
        "int32": st.integers(-(2**31), 2**31 - 1),
        "int64": st.integers(-(2**63), 2**63 - 1),
        "binary": st.binary(max_size=9),
    }
    found = kinds[column.type]
    return found if column.required or always else st.none() | found


def rows_of(dataset: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    contract = load(dataset)
    columns = {
        each.name: values(each, always=each.name == contract.ledger_time)
        for each in contract.columns
    }
    return st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=12)


@pytest.mark.parametrize("dataset", ledger.MEASURES)
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_postgres_and_duckdb_agree_on_any_rows(
    migrated_dsn: str, calculator: duckdb.DuckDBPyConnection, dataset: str, data: st.DataObject
) -> None:
    table = table_of(dataset, data.draw(rows_of(dataset)))
    with adbc.connect(migrated_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA IF NOT EXISTS scratch")
        cursor.execute("DROP TABLE IF EXISTS scratch.sample")
        columns = ", ".join(f'"{c.name}" {c.physical_type}' for c in load(dataset).columns)
        cursor.execute(f"CREATE TABLE scratch.sample ({columns})")
        cursor.adbc_ingest("sample", table, mode="append", db_schema_name="scratch")
        connection.commit()
    with psycopg.connect(migrated_dsn) as reader:
        reader.execute("SET TimeZone = 'Asia/Kolkata'")
        in_postgres = reader.execute(
            ledger.totals_sql(dataset, "postgres", "scratch.sample")
        ).fetchall()

    in_duckdb = ledger.batch_totals(calculator, dataset, table).drop_columns("dataset")

    assert sorted(in_postgres) == sorted(tuple(row.values()) for row in in_duckdb.to_pylist())


CONFUSING = st.none() | st.text("|~\\a", max_size=3)
"""Values of which neighbours could be taken for one another."""


@settings(max_examples=100, deadline=None)
@given(*[st.tuples(st.text("|~a", max_size=3), *[CONFUSING] * 3)] * 2)
def test_no_two_rows_share_a_text(
    one: tuple[str | None, ...], other: tuple[str | None, ...]
) -> None:
    names = ("market", "trade_id", "side", "conditions")
    rows = [ROW | dict(zip(names, values, strict=True)) for values in (one, other)]
    first, second = texts(rows)

    assert (first == second) is (one == other)


def texts(rows: list[dict[str, Any]]) -> list[str]:
    """Return the canonical texts of trades, in order."""
    with duckdb.connect() as connection:
        connection.register("sample", table_of("crypto_trades", rows))
        text = ledger.canonical_text("crypto_trades", "duckdb")
        return [found for (found,) in connection.execute(f"SELECT {text} FROM sample").fetchall()]


@pytest.mark.parametrize(
    ("values", "end"),
    [
        ({"conditions": "~"}, "lengths=8,5,4,~,3,1"),
        ({"trade_id": "a|b"}, "lengths=8,5,4,3,3,~"),
        ({"trade_id": "a~b", "conditions": "\\"}, "3|65536"),
    ],
)
def test_an_ambiguous_row_ends_with_lengths_and_no_other(values: dict[str, str], end: str) -> None:
    assert texts([ROW | values])[0].endswith(f"|{end}")


@pytest.mark.parametrize("dataset", ledger.MEASURES)
def test_trino_text_names_every_column(dataset: str) -> None:
    text = ledger.digest_slice(dataset, "trino")

    assert all(f'"{name}"' in text for name in load(dataset).names)

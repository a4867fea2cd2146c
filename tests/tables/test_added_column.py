"""A contract that gets an optional column leaves what is stored as it was, and as it is proven."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from lake import ledger
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import Contract, load, parse
from lake.contracts.iceberg_schema import iceberg_schema
from lake.tables.catalog import ensure_table, open_catalog
from lake.tables.data_file import write_data_files
from lake.tables.upkeep import Upkeep, UpkeepLimits
from lake.views.union_view import parquet_sql

NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)
NOTE = """      - name: note
        logicalType: string
        physicalType: text
        required: false
        description: Added later.
        customProperties:
          - {property: fieldId, value: 13}
          - {property: since, value: 1.1.0}
"""
TRADE = {
    "ticker": "X:BTCUSD",
    "exchange": "sim:1",
    "market": "spot",
    "trade_id": "1",
    "price": 1,
    "size": 2,
    "side": None,
    "conditions": None,
    "shard": 0,
    "seq": 1 << 16,
    "event_time": NOON,
    "received_time": NOON,
}


def released(dataset: str, version: str) -> Contract:
    """Return a contract as it was released."""
    folder = files("lake.contracts").joinpath("released", dataset)
    return parse(folder.joinpath(f"{version}.yaml").read_text(encoding="utf-8"), dataset)


def gap(number: int, **more: Any) -> dict[str, Any]:
    times = {"gap_from": NOON, "detected_time": NOON}
    place = {"gap_id": number << 16, "feed": "sim", "connection": 0, "kind": "restart", "shard": 0}
    return {**times, **place, **more}


def noted() -> Contract:
    """Return crypto_trades with a column more."""
    text = files("lake.contracts").joinpath("crypto_trades.yaml").read_text(encoding="utf-8")
    return parse(text.replace("    quality:\n", f"{NOTE}    quality:\n", 1), "crypto_trades")


@pytest.fixture
def catalog(migrated_dsn: str, tmp_path: Path) -> Iterator[SqlCatalog]:
    found = open_catalog(migrated_dsn, str(tmp_path / "warehouse"))
    yield found
    found.engine.dispose()


def slices(dsn: str, contract: Contract, rows: list[dict[str, Any]]) -> list[list[int]]:
    """Return each row's slice by DuckDB and by PostgreSQL, which must be the same."""
    table = pa.Table.from_pylist(rows, schema=arrow_schema(contract))
    with duckdb.connect() as calculator:
        calculator.register("sample", table)
        text = ledger.contract_text(contract, "duckdb")
        in_duckdb = calculator.execute(f"SELECT md5_number_upper({text}) FROM sample").fetchall()
    with psycopg.connect(dsn) as connection:
        columns = ", ".join(f'"{each.name}" {each.physical_type}' for each in contract.columns)
        connection.execute(f"CREATE TEMP TABLE sample ({columns})".encode())
        names = ", ".join(f"%({name})s" for name in contract.names)
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO sample VALUES ({names})".encode(), table.to_pylist())
        text = ledger.contract_text(contract, "postgres")
        query = f"SELECT market.digest_slice({text}) FROM sample"
        in_postgres = connection.execute(query.encode()).fetchall()
    return [[int(value) for (value,) in found] for found in (in_duckdb, in_postgres)]


@pytest.mark.parametrize("changed", [{}, {"trade_id": "a|b", "conditions": "~"}])
def test_a_row_of_before_has_the_digest_that_it_always_had(
    migrated_dsn: str, changed: dict[str, str]
) -> None:
    trade = TRADE | changed
    [before], again = slices(migrated_dsn, load("crypto_trades"), [trade])
    assert again == [before]
    in_duckdb, in_postgres = slices(migrated_dsn, noted(), [trade, {**trade, "note": "x"}])
    assert in_duckdb == in_postgres
    assert in_duckdb[0] == before
    assert in_duckdb[1] != before


def test_trino_leaves_out_a_column_that_is_null() -> None:
    text = ledger.contract_text(noted(), "trino")
    assert """, 'note=' || "note", CASE WHEN""" in text
    assert """, 'note=' || CAST(length("note") AS varchar)) END)""" in text


def test_a_lake_table_of_before_gets_the_column_under_the_contract_s_id(
    catalog: SqlCatalog,
) -> None:
    old, new = released("feed_gaps", "1.0.0"), load("feed_gaps")
    catalog.create_namespace("market")
    table = catalog.create_table("market.feed_gaps", iceberg_schema(old))
    table.append(pa.Table.from_pylist([gap(1)], schema=table.schema().as_arrow()))

    table = ensure_table(catalog, "feed_gaps")

    ids = [(field.name, field.field_id) for field in table.schema().fields]
    assert ids == [(column.name, column.id) for column in new.columns]
    rows = pa.Table.from_pylist([gap(2, seq=2 << 16)], schema=arrow_schema(new))
    with table.transaction() as change, change.update_snapshot().fast_append() as added:
        for file in write_data_files(table, rows, time_column=None):
            added.append_data_file(file)
    table.refresh()
    paths = [task.file.file_path.removeprefix("file://") for task in table.scan().plan_files()]
    for listed in (paths, paths[::-1], paths[1:], paths[:1]):
        with duckdb.connect() as reader:
            query = f"SELECT gap_id, seq FROM {parquet_sql('feed_gaps', listed)} ORDER BY 1"
            found = reader.execute(query).fetchall()
        assert set(found) <= {(1 << 16, None), (2 << 16, 2 << 16)}
        assert len(found) == len(listed)


def test_files_of_before_and_after_are_merged_into_one(catalog: SqlCatalog) -> None:
    old = released("feed_gaps", "1.0.0")
    catalog.create_namespace("market")
    table = catalog.create_table("market.feed_gaps", iceberg_schema(old))
    table.append(pa.Table.from_pylist([gap(1)], schema=table.schema().as_arrow()))
    table = ensure_table(catalog, "feed_gaps")
    rows = pa.Table.from_pylist([gap(2, seq=2 << 16)], schema=table.schema().as_arrow())
    table.append(rows)

    limits = UpkeepLimits(merge_factor=2)
    sort = load("feed_gaps").sort
    upkeep = Upkeep(catalog, "feed_gaps", sort, epoch=0, commit_lock=Lock(), limits=limits)
    merged = upkeep.merge()

    assert merged is not None
    assert (merged.files_before, merged.files_after) == (2, 1)
    found = ensure_table(catalog, "feed_gaps").scan().to_arrow().sort_by("gap_id")
    assert found.select(["gap_id", "seq"]).to_pylist() == [
        {"gap_id": 1 << 16, "seq": None},
        {"gap_id": 2 << 16, "seq": 2 << 16},
    ]

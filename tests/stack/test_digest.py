"""The loss ledger in Trino: the totals that DuckDB has, of any rows; no table is touched."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from lake import ledger
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import Column, ColumnType, load
from lake.trino_session import Trino, connect_trino

KINDS: dict[ColumnType, tuple[str, tuple[Any, Any]]] = {
    "text": ("varchar", ("", "ü'\"|~€")),
    "decimal": ("decimal(28, 10)", (Decimal("0.0000000001"), Decimal(-(10**17)))),
    "time": (
        "timestamp(6) with time zone",
        (datetime(2024, 8, 8, 12, 30, 59, 1, UTC), datetime(2024, 8, 8, 12, 30, tzinfo=UTC)),
    ),
    "int16": ("integer", (0, -(2**15))),
    "int32": ("integer", (2**31 - 1, -(2**31))),
    "int64": ("bigint", (2**63 - 1, -(2**63))),
    "binary": ("varbinary", (b"", b"\x00\xff")),
}
"""Of each type: Trino's, and two values."""


@pytest.fixture
def trino(stack: Path) -> Iterator[Trino]:
    with connect_trino(stack) as session:
        yield session


def literal(value: Any, column: Column) -> str:
    """Return a value in Trino's SQL, of the column's type."""
    if value is None:
        text = "NULL"
    elif isinstance(value, bytes):
        text = f"X'{value.hex()}'"
    elif isinstance(value, datetime):
        text = f"TIMESTAMP '{value:%Y-%m-%d %H:%M:%S.%f} UTC'"
    else:
        text = "'" + str(value).replace("'", "''") + "'"
    return f"CAST({text} AS {KINDS[column.type][0]})"


def rows_of(dataset: str) -> list[dict[str, Any]]:
    """Return rows of both values, and one of nulls where there may be any."""
    contract = load(dataset)
    rows = [{each.name: KINDS[each.type][1][k] for each in contract.columns} for k in (0, 1)]
    spared = {each.name for each in contract.columns if each.required} | {contract.ledger_time}
    return [*rows, {name: value if name in spared else None for name, value in rows[0].items()}]


@pytest.mark.parametrize("dataset", ledger.MEASURES)
def test_trino_s_totals_are_duckdb_s(trino: Trino, dataset: str) -> None:
    contract, rows = load(dataset), rows_of(dataset)
    names = ", ".join(f'"{name}"' for name in contract.names)
    values = ", ".join(
        f"({', '.join(literal(row[each.name], each) for each in contract.columns)})" for row in rows
    )
    query = ledger.totals_sql(dataset, "trino", f"(VALUES {values}) AS t ({names})")
    with duckdb.connect() as calculator:
        calculator.execute("SET TimeZone = 'UTC'")
        table = pa.Table.from_pylist(rows, schema=arrow_schema(contract))
        wanted = ledger.batch_totals(calculator, dataset, table).drop_columns("dataset").to_pylist()
    found = [
        {**dict(zip(wanted[0], row, strict=True)), "minute": row[1].astimezone(UTC)}
        for row in trino.execute(query)
    ]
    assert sorted(found, key=str) == sorted(wanted, key=str)

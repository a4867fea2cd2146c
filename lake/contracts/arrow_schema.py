"""A contract as an Arrow schema."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from lake.contracts.contract import ColumnType, Contract

ARROW_TYPES: Mapping[ColumnType, pa.DataType] = {
    "text": pa.string(),
    "decimal": pa.decimal128(28, 10),
    "total": pa.decimal128(38, 10),
    "product": pa.decimal128(38, 20),
    "digest": pa.decimal128(38, 0),
    "time": pa.timestamp("us", "UTC"),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "binary": pa.binary(),
    "double": pa.float64(),
}


def arrow_schema(contract: Contract) -> pa.Schema:
    """Return the columns in contract order; a required one is not nullable."""
    return pa.schema(
        [
            pa.field(column.name, ARROW_TYPES[column.type], nullable=not column.required)
            for column in contract.columns
        ]
    )

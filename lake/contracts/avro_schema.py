"""A contract as an Avro schema: for files and streams that others read, versioned in git.

`avro/<dataset>/<version>.avsc` has the schema of every released version. An optional column is a
union with null and has null for a default, so that a reader of any version reads what a writer of
any other wrote, by Avro's own rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lake.contracts.contract import Column, ColumnType, Contract

NAMESPACE = "ticklake.market"


def _decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


AVRO_TYPES: Mapping[ColumnType, str | dict[str, Any]] = {
    "text": "string",
    "decimal": _decimal(28, 10),
    "total": _decimal(38, 10),
    "product": _decimal(38, 20),
    "digest": _decimal(38, 0),
    "time": {"type": "long", "logicalType": "timestamp-micros"},
    "int16": "int",  # Avro has no smaller one
    "int32": "int",
    "int64": "long",
    "binary": "bytes",
    "double": "double",
}


def avro_schema(contract: Contract) -> dict[str, Any]:
    """Return the record of a row, its columns in contract order under their ids."""
    return {
        "type": "record",
        "name": contract.name,
        "namespace": NAMESPACE,
        "doc": contract.description,
        "version": contract.version,
        "fields": [_field(column) for column in contract.columns],
    }


def avro_text(contract: Contract) -> str:
    """Return the schema as a file has it."""
    return json.dumps(avro_schema(contract), indent=2, ensure_ascii=False) + "\n"


def _field(column: Column) -> dict[str, Any]:
    kind = AVRO_TYPES[column.type]
    field: dict[str, Any] = {"name": column.name, "type": kind}
    if not column.required:
        field |= {"type": ["null", kind], "default": None}
    return {**field, "doc": column.meaning, "field-id": column.id}

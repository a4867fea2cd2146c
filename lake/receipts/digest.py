"""A digest of a table's values: the same wherever and however often the same rows are made.

It is of names, types and values in their order, and of nothing that a library or an engine is free
to choose: chunks, offsets, dictionaries, metadata, what lies under a null.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import BadInput

ROWS_AT_ONCE = 1_000_000
"""Rows that are laid out as bytes at a time; part of the digest, so it stays as it is."""


def table_digest(table: pa.Table) -> str:
    """Return SHA-256 of a table's values, in hex.

    Columns: integers, floats (their bits), booleans, times, decimals, text, bytes. The order of
    rows and columns counts. Raises BadInput for a column of another type.
    """
    whole = hashlib.sha256(f"{table.num_rows} rows\n".encode())
    for name in table.column_names:
        _add_column(whole, name, table[name])
    return whole.hexdigest()


def tables_digest(digests: Mapping[str, str]) -> str:
    """Return SHA-256 of named digests, in the order of their names."""
    lines = "".join(f"{name} {digests[name]}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()


def _add_column(whole: Any, name: str, column: pa.ChunkedArray) -> None:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = _plain_type(name, column.type)
    whole.update(f"{name} {kind}\n".encode())
    for start in range(0, len(column), ROWS_AT_ONCE):
        piece = column.slice(start, ROWS_AT_ONCE).cast(kind)
        flat = pa.concat_arrays(piece.chunks)
        whole.update(np.packbits(np.asarray(flat.is_valid())).tobytes())
        for part in _parts(flat):
            whole.update(part)


def _plain_type(name: str, kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.large_string()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pa.large_binary()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if pa.types.is_decimal128(kind) or pa.types.is_primitive(kind) or pa.types.is_boolean(kind):
        return kind
    raise BadInput(f"column {name}", f"is {kind}, which has no digest", "leave it out, or cast it")


def _parts(flat: pa.Array) -> list[bytes]:
    """Return an array's values as bytes, little-endian; a null is a zero."""
    kind = flat.type
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        filled = pc.fill_null(flat, "" if pa.types.is_large_string(kind) else b"")
        sizes = np.asarray(pc.binary_length(filled), dtype="<i8")
        _, places, content = filled.buffers()
        at = np.frombuffer(places, dtype="<i8")[filled.offset : filled.offset + len(filled) + 1]
        return [sizes.tobytes(), bytes(memoryview(content or b"")[at[0] : at[-1]])]
    if pa.types.is_decimal128(kind):
        filled = pc.fill_null(flat, pa.scalar(Decimal(0), kind))
        start = filled.offset * kind.byte_width
        raw = memoryview(filled.buffers()[1])
        return [bytes(raw[start : start + len(filled) * kind.byte_width])]
    if pa.types.is_boolean(kind):
        return [np.packbits(np.asarray(pc.fill_null(flat, False))).tobytes()]
    numbers = flat.cast(pa.int64()) if pa.types.is_temporal(kind) else flat
    filled = pc.fill_null(numbers, pa.scalar(0, numbers.type))
    values = filled.to_numpy(zero_copy_only=False)
    return [values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()]

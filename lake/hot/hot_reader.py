"""Read committed rows of the hot tier as Arrow, by frame."""

from __future__ import annotations

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.database import BY_RANGE, with_options
from lake.errors import Unavailable
from lake.feeds.codec import INDEX_BITS
from lake.state import remedy

LAST_INDEX = (1 << INDEX_BITS) - 1


class HotReader:
    """A connection that reads ranges of frames."""

    def __init__(self, dsn: str) -> None:
        self._dsn = with_options(dsn, **BY_RANGE)
        self._connection: adbc.Connection | None = None

    def rows(self, dataset: str, shard: int, after: int, upto: int) -> pa.Table:
        """Return a dataset's rows of frames (after, upto], in the contract's schema, seq ascending.

        after is exclusive, upto inclusive.
        """
        schema = arrow_schema(load(dataset))
        columns = ", ".join(_selected(field) for field in schema)
        query = (
            f"SELECT {columns} FROM market.{dataset} WHERE shard = {int(shard)}"
            f" AND seq > {(int(after) << INDEX_BITS) | LAST_INDEX}"
            f" AND seq <= {(int(upto) << INDEX_BITS) | LAST_INDEX}"
        )
        try:
            if self._connection is None:
                self._connection = adbc.connect(self._dsn)
            with self._connection.cursor() as cursor:
                cursor.execute(query)
                found = cursor.fetch_arrow_table()
            self._connection.rollback()
        except adbc_driver_manager.Error as error:
            self.close()
            said = str(error).splitlines()[0]
            raise Unavailable("hot tier", said, remedy(said, "is the server up?")) from error
        return _ascending(as_contract(found, schema))

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except adbc_driver_manager.Error:
                return  # the server is gone: nothing left to close


def _selected(field: pa.Field) -> str:
    """Return a column as it is read: a NUMERIC's text costs the driver a third of the number."""
    as_text = "::text" if pa.types.is_decimal(field.type) else ""
    return f'"{field.name}"{as_text} AS "{field.name}"'


def _ascending(rows: pa.Table) -> pa.Table:
    """Return the rows by seq: nearly always they lie so in hot, and need no sorting."""
    seq = rows["seq"].to_numpy()
    return rows if (seq[1:] > seq[:-1]).all() else rows.sort_by("seq")


def as_contract(found: pa.Table, schema: pa.Schema) -> pa.Table:
    """Cast what ADBC returns to the contract's types; NUMERIC comes as opaque text."""
    columns = []
    for field in schema:
        column = found[field.name]
        if isinstance(column.type, pa.BaseExtensionType):
            storage = [chunk.storage for chunk in column.chunks]
            column = pa.chunked_array(storage, column.type.storage_type)
        columns.append(column.cast(field.type))
    return pa.table(columns, schema=schema)

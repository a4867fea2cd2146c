"""A DuckDB in memory, to compute with."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

ARROW_ROWS = 16_384
"""Rows of a batch of DuckDB's Arrow tables, for what is asked again and again for a few of them: it
allots room for a whole batch, a million rows by default, which is 50 MB of each small answer."""


def in_memory(
    config: Mapping[str, str | bool | int | float | list[str]] | None = None,
) -> duckdb.DuckDBPyConnection:
    """Return a new connection, in UTC, that prints nothing.

    Left to itself, DuckDB draws the progress of what takes two seconds on standard output, where
    programs of ours write JSON.
    """
    connection = duckdb.connect(config=dict(config or {}))
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    return connection

"""A DuckDB connection as every reader of ours wants it: UTC, offline, extensions from wheels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import duckdb

from lake.errors import BadInput, Damaged, TicklakeError, Unavailable
from lake.in_memory import in_memory
from lake.state import remedy
from lake.warehouse import Bucket, Warehouse

HOT_CATALOG = "pg"
"""The name under which `attach_hot` attaches PostgreSQL."""

LAKE_EXTENSIONS = ("avro", "iceberg")
HOT_EXTENSIONS = ("postgres_scanner",)
STORE_EXTENSION = "httpfs"

STORE_SETTINGS = {"http_timeout": 10, "http_retries": 4, "http_retry_wait_ms": 100}
"""Seconds, tries and milliseconds: what a store does not answer by then is not there."""

GONE = ("404", "No files found", "No such file")
"""How DuckDB says that a file is not there."""

CLOSED = ("403", "401")
"""How it says that a store does not let us in."""

_PASSWORD = re.compile(r"(://[^:/@\s]*:|\bpassword=)[^@\s]+")

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


def open_duckdb(extensions: Sequence[str]) -> duckdb.DuckDBPyConnection:
    """Return a new in-memory connection in UTC with these extensions loaded.

    Extensions come from the installed `duckdb-extension-*` wheels, by path: nothing is copied into
    the user's home and nothing is fetched. Raises BadInput when a wheel is missing.
    """
    connection = in_memory(_CONFIG)
    for name in extensions:
        connection.execute(f"LOAD {quote(str(extension_path(name)))}")
    return connection


def attach_warehouse(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse | None) -> None:
    """Let a connection read the files of a warehouse; a folder needs nothing."""
    secret = warehouse.duckdb_secret() if warehouse else ""
    if not secret:
        return
    connection.execute(f"LOAD {quote(str(extension_path(STORE_EXTENSION)))}")
    for name, value in STORE_SETTINGS.items():
        connection.execute(f"SET GLOBAL {name} = {value}")  # of its cursors, too
    # No file of the lake changes under its name: else each query asks about each of its files.
    connection.execute("SET GLOBAL enable_http_metadata_cache = true")
    if isinstance(warehouse, Bucket) and warehouse.ca:
        connection.execute(f"SET GLOBAL ca_cert_file = {quote(warehouse.ca)}")
        connection.execute("SET GLOBAL enable_server_cert_verification = true")
    try:
        connection.execute(secret)
    except duckdb.Error:
        # The engine's own words repeat the statement, and the statement holds the keys.
        raise BadInput(
            "warehouse", "DuckDB refuses its address or keys", "see run/state.json"
        ) from None


def file_fault(thing: str, error: duckdb.Error) -> TicklakeError:
    """Return what it means that a file of the lake can't be read."""
    said = first_line(error)
    remote = isinstance(error, duckdb.IOException) and "://" in said
    if remote and any(f"HTTP {code}" in said for code in CLOSED):
        fault = f"its store refuses our keys ({said})"
        return Unavailable(thing, fault, "see `s3` in run/state.json")
    if remote and not any(word in said for word in GONE):
        return Unavailable(thing, f"its store does not answer ({said})", "see: ticklake status")
    if any(word in said for word in GONE):
        named = re.search(r'"([^"]+)"', said)
        said = f"{named.group(1) if named else 'a file of it'} is gone"
    return Damaged(thing, said, "restore the file")


def extension_path(name: str) -> Path:
    """Return where the wheel of a DuckDB extension put its file."""
    package = find_spec(f"duckdb_extension_{name}")
    for folder in (package.submodule_search_locations or []) if package else []:
        found = Path(folder, "extensions", f"v{duckdb.__version__}", f"{name}.duckdb_extension")
        if found.exists():
            return found
    raise BadInput(
        f"DuckDB extension {name}",
        f"no file for DuckDB {duckdb.__version__} is installed",
        f"install duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}",
    )


def attach_hot(connection: duckdb.DuckDBPyConnection, dsn: str) -> None:
    """Attach the hot tier read-only as catalog `pg`; Unavailable when it can't be reached."""
    try:
        connection.execute(
            f"ATTACH {quote(dsn)} AS {HOT_CATALOG} (TYPE postgres, READ_ONLY, SCHEMA 'market')"
        )
    except duckdb.Error as error:
        raise hot_fault(error) from error


def hot_query(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[object, ...]]:
    """Run a query in PostgreSQL through the attached catalog and return its rows."""
    try:
        return connection.execute(
            f"FROM postgres_query({quote(HOT_CATALOG)}, {quote(sql)})"
        ).fetchall()
    except duckdb.Error as error:
        raise hot_fault(error) from error


def hot_fault(error: duckdb.Error) -> Unavailable:
    """Return what it means that the attached hot tier does not answer."""
    said = first_line(error)
    return Unavailable("hot tier", said, remedy(said, "start it: ticklake up"))


def quote(text: str) -> str:
    """Return text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def first_line(error: Exception) -> str:
    """Return the first line of an engine's message, without passwords."""
    lines = str(error).strip().splitlines()
    return without_passwords(lines[0]) if lines else type(error).__name__


def without_passwords(text: str) -> str:
    """Return text with the passwords of server addresses in it starred out."""
    return _PASSWORD.sub(r"\1***", text)

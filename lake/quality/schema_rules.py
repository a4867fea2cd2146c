"""Whether the stores' tables still are what the contracts say: name, type and order of columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import duckdb

from lake.contracts.contract import DATASETS, LAKE_ONLY_DATASETS, Contract, load
from lake.quality.rule import QualityRule, Result
from lake.views.engine import hot_query, quote
from lake.views.snapshot import Snapshot
from lake.views.union_view import DUCKDB_TYPES

POSTGRES_NAMES = {"timestamp with time zone": "timestamptz"}

_HOT = (
    "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)"
    " FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid"
    " WHERE c.relnamespace = 'market'::regnamespace AND c.relkind IN ('r', 'p')"
    " AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''"
    " ORDER BY c.relname, a.attnum"
)


def schema_results(
    connection: duckdb.DuckDBPyConnection, snapshots: Mapping[str, Snapshot]
) -> Iterator[Result]:
    """Yield a result a dataset: rows_checked are columns, those at fault are named."""
    hot: dict[str, dict[str, str]] = {}
    for table, column, type_ in hot_query(connection, _HOT):
        said = POSTGRES_NAMES.get(str(type_), str(type_))
        hot.setdefault(str(table), {})[str(column)] = said
    for dataset in DATASETS:
        contract = load(dataset)
        faults = []
        if dataset not in LAKE_ONLY_DATASETS:
            wanted = {column.name: column.physical_type for column in contract.columns}
            faults += drift("hot", wanted, hot.get(dataset, {}))
        snapshot = snapshots.get(dataset)
        if snapshot is not None and snapshot.manifest_list:
            found = _in_lake(connection, snapshot)
            faults += drift("lake", _lake_types(contract, found), found)
        columns = len(contract.columns)
        yield Result(_rule(contract), columns, len(faults), faults)


def drift(
    store: str, wanted: Mapping[str, str], found: Mapping[str, str]
) -> list[dict[str, str | None]]:
    """Return the columns that differ, of both name -> type, in the order of each."""
    differing = [
        {"store": store, "column": name, "contract": wanted.get(name), "found": found.get(name)}
        for name in [*wanted, *(name for name in found if name not in wanted)]
        if wanted.get(name) != found.get(name)
    ]
    if not differing and list(wanted) != list(found):
        order = {"contract": ", ".join(wanted), "found": ", ".join(found)}
        differing.append({"store": store, "column": "(order)", **order})
    return differing


def _lake_types(contract: Contract, found: Mapping[str, str]) -> dict[str, str]:
    """Return name -> type; a column that came later may be missing until a writer adds it."""
    types = {
        column.name: DUCKDB_TYPES[column.type]
        for column in contract.columns
        if column.name in found or not column.since
    }
    return {name: WIDENED.get(type_, type_).replace(", ", ",") for name, type_ in types.items()}


WIDENED = {"SMALLINT": "INTEGER"}
"""Iceberg knows no shorter whole number."""


def _in_lake(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> dict[str, str]:
    rows = connection.execute(
        f"DESCRIBE SELECT * FROM iceberg_scan({quote(snapshot.metadata_location)})"
    ).fetchall()
    return {row[0]: row[1] for row in rows}


def _rule(contract: Contract) -> QualityRule:
    return QualityRule(
        contract.name,
        "schema",
        "schema",
        "conformity",
        "error",
        "The stores' tables have the columns of the contract.",
        "somebody changed a table by hand, or this program is older than the tables: put it right",
        contract.version,
    )

"""Releases in Trino: a schema each, `ticklake."release-<name>"`, with the views of that cut.

A view names the snapshot and the cut, so it stays as it is; a client whose schema it is asks a
release by the same queries as it asks what there is now. Trino shows a table's columns as they were
at the snapshot: what came later is null, as in DuckDB.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psycopg

from lake.contracts.contract import WHOLE_DATASETS, ColumnType, load
from lake.errors import TicklakeError, Unavailable
from lake.releases.release import Part, names, parts_of, tag_of
from lake.roles import role_dsn
from lake.state import postgres_dsn
from lake.trino_session import (
    LAKE_CATALOG,
    SCHEMA,
    VIEW_CATALOG,
    VIEW_UPKEEP_CATALOG,
    Trino,
    connect_trino,
)
from lake.views.trino_views import TRINO_DATASETS
from lake.views.union_view import current_sql, through_sql

DATASETS = (*TRINO_DATASETS, *WHOLE_DATASETS)
"""Datasets with a view in a release."""

TRINO_TYPES: Mapping[ColumnType, str] = {
    "text": "varchar",
    "decimal": "decimal(28, 10)",
    "total": "decimal(38, 10)",
    "product": "decimal(38, 20)",
    "digest": "decimal(38, 0)",
    "time": "timestamp(6) with time zone",
    "int16": "integer",
    "int32": "integer",
    "int64": "bigint",
    "binary": "varbinary",
    "double": "double",
}
"""What Trino makes of the types that the lake's tables have."""


def publish_releases(home: Path) -> None:
    """Make the views of the releases that have none in a home's Trino; safe to call again."""
    with psycopg.connect(postgres_dsn(home)) as connection:
        known = {name: parts_of(connection, name) for name in names(connection)}
    if not known:
        return
    with connect_trino(home) as session:
        for name, parts in known.items():
            publish_release(session, name, parts)


def publish_release(session: Trino, name: str, parts: Sequence[Part]) -> None:
    """Make a release's schema and views; raises as Trino.execute does."""
    schema = f'{VIEW_UPKEEP_CATALOG}."{schema_of(name)}"'
    session.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    by_dataset = {part.dataset: part for part in parts}
    for dataset in DATASETS:
        select = release_sql(session, dataset, by_dataset.get(dataset))
        session.execute(
            f"CREATE OR REPLACE VIEW {schema}.{dataset} SECURITY INVOKER AS"
            f" {current_sql(dataset, select)}"
        )


def withdraw_release(session: Trino, name: str) -> None:
    """Remove a release's views and schema; nothing where there is none."""
    if schema_of(name) not in schemas(session):
        return
    schema = f'{VIEW_UPKEEP_CATALOG}."{schema_of(name)}"'
    for dataset in DATASETS:
        session.execute(f"DROP VIEW IF EXISTS {schema}.{dataset}")
    session.execute(f"DROP SCHEMA IF EXISTS {schema}")


def connect_release(home: Path, role: str, name: str) -> Trino:
    """Open a session on Trino whose tables are those of a release.

    Raises WrongUse where there is none of that name; Unavailable where Trino does not have it yet.
    """
    with psycopg.connect(role_dsn(home, role)) as connection:
        parts_of(connection, name)
    session = connect_trino(home, role, schema=schema_of(name))
    try:
        if schema_of(name) not in schemas(session):
            raise Unavailable(f"release {name}", "Trino has no views of it", "run: ticklake up")
    except TicklakeError:
        session.close()
        raise
    return session


def schema_of(name: str) -> str:
    """Return a release's schema; a dot, which would be a level of its own there, is a tilde."""
    return tag_of(name).replace(".", "~")


def schemas(session: Trino) -> set[str]:
    """Return the schemas with views that this user sees."""
    return {str(name) for (name,) in session.execute(f"SHOW SCHEMAS FROM {VIEW_CATALOG}")}


def release_sql(session: Trino, dataset: str, part: Part | None) -> str:
    """Select a dataset's rows of a release, all columns of the contract; no part, no rows."""
    if part is None:
        nulls = ", ".join(_selected(name, kind) for name, kind in _columns(dataset))
        return f"SELECT {nulls} WHERE false"
    table = f"{LAKE_CATALOG}.{SCHEMA}.{dataset} FOR VERSION AS OF {part.snapshot_id}"
    held = session.arrow(f"SELECT * FROM {table} LIMIT 0").schema.names
    columns = ", ".join(
        f'"{name}"' if name in held else _selected(name, kind) for name, kind in _columns(dataset)
    )
    cut = "" if dataset in WHOLE_DATASETS else f" WHERE {through_sql(part.through)}"
    return f"SELECT {columns} FROM {table}{cut}"


def _columns(dataset: str) -> Iterator[tuple[str, str]]:
    for column in load(dataset).columns:
        yield column.name, TRINO_TYPES[column.type]


def _selected(name: str, kind: str) -> str:
    return f'CAST(NULL AS {kind}) AS "{name}"'

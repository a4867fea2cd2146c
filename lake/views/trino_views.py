"""The union views in Trino's SQL: `market.<dataset>`, lake rows and the hot rows beyond them.

Trino learns the lake's snapshot while the query runs, from the table's own `$properties`, which it
reads from the very metadata that it reads the rows from. It asks the hot tier's
`market.<dataset>_tail` for the rows beyond that snapshot: the join's one row becomes a condition of
the statement that PostgreSQL gets, so the cost is the tail's, whatever the age of the hot tier.
Per shard marks in `$properties` would do without notes in PostgreSQL, but `seq > through` is no
condition that Trino passes on: it would fetch all of the hot tier.

Where somebody rolled the table back, the properties are ahead of the rows until the committer heals
it (a second): `$history` says so, and the tail is then the head's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256

from lake.contracts.contract import LAKE_ONLY_DATASETS, NUMBERED_DATASETS, Contract, load
from lake.errors import BadInput
from lake.tables.names import SNAPSHOT
from lake.trino_session import (
    HOT_CATALOG,
    LAKE_CATALOG,
    SCHEMA,
    VIEW_CATALOG,
    VIEW_UPKEEP_CATALOG,
    Trino,
)
from lake.views.union_view import (
    AGGREGATE_COLUMNS,
    AGGREGATES,
    UNION_DATASETS,
    current_sql,
)

TRINO_DATASETS = tuple(name for name in UNION_DATASETS if name != "ledger_minutes")
"""Datasets of the way in with a view in Trino, which reads hot as analyst: the ledger is closed."""

TRINO_VIEWS = (*TRINO_DATASETS, *NUMBERED_DATASETS, *LAKE_ONLY_DATASETS)
"""Datasets with a view of the fresh state."""


def publish_views(session: Trino, known: str = "") -> str:
    """(Re)create the union views, after the tables; return a digest of them. Safe to call again.

    known: the digest of an earlier call: where it is the same and no view has gone, they stay as
    they are, since a thousand statements take a minute. Raises BadInput with the remedy where Trino
    lacks what they need.
    """
    catalogs = {str(name) for (name,) in session.execute("SHOW CATALOGS")}
    lacking = {LAKE_CATALOG, HOT_CATALOG, VIEW_CATALOG, VIEW_UPKEEP_CATALOG} - catalogs
    if lacking:
        raise BadInput(
            f"trino at {session.url}",
            f"has no catalog {' or '.join(sorted(lacking))}",
            "give it the files of infra/config/trino/catalog",
        )
    held = {str(name) for (name,) in session.execute(f"SHOW TABLES FROM {LAKE_CATALOG}.{SCHEMA}")}
    missing = sorted(set(TRINO_VIEWS) - held)
    if missing:
        raise BadInput(
            f"trino at {session.url}",
            f"its catalog {LAKE_CATALOG} shows no table {' or '.join(missing)} of ours",
            "its iceberg.jdbc-catalog.catalog-name must be ticklake, in the hot tier's database",
        )
    statements = list(trino_view_statements())
    digest = sha256("\n".join(statements).encode()).hexdigest()
    if digest != known or not _names_of_views() <= _shown(session):
        for statement in statements:
            session.execute(statement)
    return digest


def _names_of_views() -> set[str]:
    return {*TRINO_VIEWS, *(f"crypto_agg_{interval}" for interval in AGGREGATES)}


def _shown(session: Trino) -> set[str]:
    """Return the views that are there."""
    tables = f"{VIEW_CATALOG}.information_schema.tables"
    asked = f"SELECT table_name FROM {tables} WHERE table_schema = '{SCHEMA}'"
    return {str(name) for (name,) in session.execute(asked)}


def trino_view_statements() -> Iterator[str]:
    """Yield the statements that (re)create every view, documented by its contract.

    The lake's tables and the tails must be there.
    """
    yield f"CREATE SCHEMA IF NOT EXISTS {VIEW_UPKEEP_CATALOG}.{SCHEMA}"
    for dataset in TRINO_VIEWS:
        contract = load(dataset)
        lake_only = dataset in LAKE_ONLY_DATASETS
        select = trino_lake_sql(contract) if lake_only else trino_union_sql(contract)
        meanings = {column.name: column.meaning for column in contract.columns}
        yield from _view(dataset, contract.description, meanings, current_sql(dataset, select))
    bars = load("bars")
    meanings = {name: bars.column(_of_bars(name)).meaning for name in AGGREGATE_COLUMNS}
    for interval in AGGREGATES:
        said = f"Bars of {interval}: the lake's closed ones, and the hot tier's of open buckets."
        yield from _view(
            f"crypto_agg_{interval}", said, meanings, trino_aggregate_sql(bars, interval)
        )


def _view(name: str, comment: str, meanings: Mapping[str, str], select: str) -> Iterator[str]:
    view = f"{VIEW_UPKEEP_CATALOG}.{SCHEMA}.{name}"
    yield (f"CREATE OR REPLACE VIEW {view} COMMENT {_quoted(comment)} SECURITY INVOKER AS {select}")
    for column, meaning in meanings.items():
        yield f"COMMENT ON COLUMN {view}.{_name(column)} IS {_quoted(meaning)}"


def trino_lake_sql(contract: Contract) -> str:
    """Select the lake's rows."""
    columns = ", ".join(_name(name) for name in contract.names)
    return f"SELECT {columns} FROM {LAKE_CATALOG}.{SCHEMA}.{contract.name}"


def trino_union_sql(contract: Contract) -> str:
    """Select the lake's rows, and the hot rows beyond the snapshot that they come from."""
    columns = ", ".join(_name(name) for name in contract.names)
    return (
        f"{trino_lake_sql(contract)}"
        f" UNION ALL SELECT {columns} FROM {HOT_CATALOG}.{SCHEMA}.{contract.name}_tail"
        f" JOIN ({_snapshot_sql(contract.name)}) USING (snapshot_id)"
    )


def trino_aggregate_sql(bars: Contract, interval: str) -> str:
    """Select the bars of an interval, and from the hot tier those of buckets not yet closed."""
    lake = ", ".join(f"{_name(_of_bars(name))} AS {_name(name)}" for name in AGGREGATE_COLUMNS)
    columns = ", ".join(_name(name) for name in AGGREGATE_COLUMNS)
    return (
        f"SELECT {lake} FROM {LAKE_CATALOG}.{SCHEMA}.{bars.name}"
        f" WHERE \"interval\" = '{interval}'"
        f" UNION ALL SELECT {columns} FROM {HOT_CATALOG}.{SCHEMA}.crypto_agg_{interval}_tail"
        f" JOIN ({_snapshot_sql(bars.name)}) USING (snapshot_id)"
    )


def _of_bars(name: str) -> str:
    """Return what a column of crypto_agg_* is called in bars."""
    return "event_time" if name == "bucket" else name


def _snapshot_sql(dataset: str) -> str:
    """Select the snapshot whose tail belongs to the rows; 0 for a table without one."""
    table = f'{LAKE_CATALOG}.{SCHEMA}."{dataset}'
    return (
        "SELECT coalesce(if(contains(gone, named), head, named), 0) AS snapshot_id FROM ("
        f"SELECT max(id) FILTER (WHERE kind = '{SNAPSHOT}') AS named,"
        " max(id) FILTER (WHERE kind = 'current-snapshot-id') AS head,"
        " array_agg(id) FILTER (WHERE kind = 'gone') AS gone FROM ("
        f'SELECT key AS kind, TRY_CAST(value AS bigint) AS id FROM {table}$properties"'
        f" WHERE key IN ('{SNAPSHOT}', 'current-snapshot-id')"
        f" UNION ALL SELECT 'gone', snapshot_id FROM {table}$history\""
        " WHERE NOT is_current_ancestor))"
    )


def _name(column: str) -> str:
    return f'"{column}"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

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

from collections.abc import Iterator

from lake.contracts.contract import Contract, load
from lake.errors import BadInput
from lake.trino_session import HOT_CATALOG, LAKE_CATALOG, SCHEMA, VIEW_CATALOG, Trino
from lake.views.union_view import UNION_DATASETS, current_sql

TRINO_DATASETS = tuple(name for name in UNION_DATASETS if name != "ledger_minutes")
"""Datasets with a view in Trino, which reads hot as analyst: the ledger is closed to it."""


def publish_views(session: Trino) -> None:
    """(Re)create the union views, after the tables; safe to call again.

    Raises BadInput with the remedy where Trino lacks what they need.
    """
    catalogs = {str(name) for (name,) in session.execute("SHOW CATALOGS")}
    lacking = {LAKE_CATALOG, HOT_CATALOG, VIEW_CATALOG} - catalogs
    if lacking:
        raise BadInput(
            f"trino at {session.url}",
            f"has no catalog {' or '.join(sorted(lacking))}",
            "give it the files of infra/config/trino/catalog",
        )
    held = {str(name) for (name,) in session.execute(f"SHOW TABLES FROM {LAKE_CATALOG}.{SCHEMA}")}
    if not held:
        raise BadInput(
            f"trino at {session.url}",
            f"its catalog {LAKE_CATALOG} shows no table of ours",
            "its iceberg.jdbc-catalog.catalog-name must be ticklake, in the hot tier's database",
        )
    for statement in trino_view_statements():
        session.execute(statement)


def trino_view_statements() -> Iterator[str]:
    """Yield the statements that (re)create every view, documented by its contract.

    The lake's tables and the tails must be there.
    """
    yield f"CREATE SCHEMA IF NOT EXISTS {VIEW_CATALOG}.{SCHEMA}"
    for dataset in TRINO_DATASETS:
        contract = load(dataset)
        view = f"{VIEW_CATALOG}.{SCHEMA}.{dataset}"
        yield (
            f"CREATE OR REPLACE VIEW {view} COMMENT {_quoted(contract.description)}"
            f" SECURITY INVOKER AS {current_sql(dataset, trino_union_sql(contract))}"
        )
        for column in contract.columns:
            yield f"COMMENT ON COLUMN {view}.{_name(column.name)} IS {_quoted(column.meaning)}"


def trino_union_sql(contract: Contract) -> str:
    """Select the lake's rows, and the hot rows beyond the snapshot that they come from."""
    columns = ", ".join(_name(name) for name in contract.names)
    return (
        f"SELECT {columns} FROM {LAKE_CATALOG}.{SCHEMA}.{contract.name}"
        f" UNION ALL SELECT {columns} FROM {HOT_CATALOG}.{SCHEMA}.{contract.name}_tail"
        f" JOIN ({_snapshot_sql(contract.name)}) USING (snapshot_id)"
    )


def _snapshot_sql(dataset: str) -> str:
    """Select the snapshot whose tail belongs to the rows; 0 for a table without one."""
    table = f'{LAKE_CATALOG}.{SCHEMA}."{dataset}'
    return (
        "SELECT coalesce(if(contains(gone, named), head, named), 0) AS snapshot_id FROM ("
        "SELECT max(id) FILTER (WHERE kind = 'ticklake.snapshot') AS named,"
        " max(id) FILTER (WHERE kind = 'current-snapshot-id') AS head,"
        " array_agg(id) FILTER (WHERE kind = 'gone') AS gone FROM ("
        f'SELECT key AS kind, TRY_CAST(value AS bigint) AS id FROM {table}$properties"'
        " WHERE key IN ('ticklake.snapshot', 'current-snapshot-id')"
        f" UNION ALL SELECT 'gone', snapshot_id FROM {table}$history\""
        " WHERE NOT is_current_ancestor))"
    )


def _name(column: str) -> str:
    return f'"{column}"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

"""The views of a release: each table at its tagged snapshot, and of it the rows within the cut."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import duckdb

from lake.contracts.contract import WHOLE_DATASETS
from lake.errors import Damaged, WrongUse
from lake.views.engine import hot_query, quote
from lake.views.snapshot import Snapshot
from lake.views.union_view import UNION_DATASETS, current_sql, lake_sql, through_sql


def release_statements(
    connection: duckdb.DuckDBPyConnection, name: str, snapshots: Mapping[str, Snapshot]
) -> Iterator[str]:
    """Yield the statements that make the views `<dataset>` and `lake.<dataset>` of a release.

    Raises WrongUse where there is none of that name, Damaged where a table of it is gone.
    """
    rows = hot_query(
        connection,
        "SELECT dataset, snapshot_id::text, through FROM market.releases"
        f" WHERE name = {quote(name)} ORDER BY dataset",
    )
    if not rows:
        raise WrongUse(f"release {name}", "no such release", "see: ticklake release list")
    yield "CREATE SCHEMA IF NOT EXISTS lake"
    parts = {str(dataset): (str(at), str(through)) for dataset, at, through in rows}
    for dataset in (*UNION_DATASETS, *WHOLE_DATASETS):
        if dataset not in parts:
            yield f"CREATE OR REPLACE VIEW lake.{dataset} AS {lake_sql(dataset, None)}"
            yield f"CREATE OR REPLACE VIEW {dataset} AS FROM lake.{dataset}"
            continue
        snapshot_id, through = parts[dataset]
        table = snapshots.get(dataset)
        if table is None:
            raise Damaged(f"lake table {dataset}", "is gone", f"drop release {name}, or restore it")
        select = lake_sql(dataset, table).replace(
            f"iceberg_scan({quote(table.metadata_location)})",
            f"iceberg_scan({quote(table.metadata_location)}, snapshot_from_id = {snapshot_id})",
        )
        if dataset not in WHOLE_DATASETS:
            frames = {int(shard): frame for shard, frame in json.loads(through).items()}
            select = f"FROM ({select}) WHERE {through_sql(frames)}"
        yield f"CREATE OR REPLACE VIEW lake.{dataset} AS {select}"
        yield f"CREATE OR REPLACE VIEW {dataset} AS {current_sql(dataset, f'FROM lake.{dataset}')}"

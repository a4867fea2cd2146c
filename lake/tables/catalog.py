"""Open the Iceberg catalog: a SQL catalog in PostgreSQL, fenced by the committer's epoch."""

from __future__ import annotations

from contextlib import suppress

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    TableAlreadyExistsError,
)
from pyiceberg.io import PY_IO_IMPL
from pyiceberg.table import Table
from sqlalchemy import select

from lake.contracts.contract import Contract, load
from lake.contracts.iceberg_schema import (
    ICEBERG_TYPES,
    iceberg_schema,
    partition_spec,
    sort_order,
)
from lake.database import IDLE_IN_TRANSACTION_MS, with_options
from lake.tables.commit import faults_of
from lake.tables.names import CATALOG, NAMESPACE
from lake.tables.warehouse_io import IMPLEMENTATION
from lake.warehouse import Warehouse, warehouse_at

IDLE_SETTING = "idle_in_transaction_session_timeout"

PROPERTIES = {
    "write.parquet.compression-codec": "zstd",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",
    # A lost race must come back to us: a retry inside the library would append what a
    # successor has already appended.
    "commit.retry.num-retries": "0",
    "write.delete.isolation-level": "snapshot",
    "write.update.isolation-level": "snapshot",
}


def open_catalog(
    dsn: str, warehouse: Warehouse | str, *, epoch: int | None = None, lease: str = ""
) -> SqlCatalog:
    """Open the catalog; with an epoch of a lease, its commits are refused once a newer one exists.

    lease: "" for the committer's, that of who brings ticks into the lake;
    dsn: postgresql://user:password@host:port/database;
    warehouse: where its files lie, a text is a folder's path.
    """
    uri = dsn.replace("postgresql://", "postgresql+psycopg://", 1)
    if epoch is not None:
        settings: dict[str, str | int] = {"ticklake.epoch": epoch}
        settings[IDLE_SETTING] = IDLE_IN_TRANSACTION_MS
        settings |= {"ticklake.lease": lease} if lease else {}
        uri = with_options(uri, **settings)
    place = warehouse_at(warehouse) if isinstance(warehouse, str) else warehouse
    return SqlCatalog(
        CATALOG,
        uri=uri,
        warehouse=place.location,
        init_catalog_tables="false",
        pool_pre_ping="true",
        **{PY_IO_IMPL: IMPLEMENTATION, **place.iceberg_properties()},
    )


def ensure_table(catalog: SqlCatalog, dataset: str) -> Table:
    """Return the dataset's table, created from its contract if it is not there.

    Columns that the contract has got since are added to it; rows of before have null there.
    """
    name = (NAMESPACE, dataset)
    if catalog.table_exists(name):
        return _with_new_columns(catalog, catalog.load_table(name), load(dataset))
    with suppress(NamespaceAlreadyExistsError):  # another process was first: it is there
        catalog.create_namespace(NAMESPACE)
    contract = load(dataset)
    try:
        return catalog.create_table(
            name,
            iceberg_schema(contract),
            partition_spec=partition_spec(contract),
            sort_order=sort_order(contract),
            properties={**PROPERTIES, "comment": contract.description},
        )
    except TableAlreadyExistsError:
        return catalog.load_table(name)


def known_table(catalog: SqlCatalog, dataset: str) -> Table | None:
    """Return the dataset's table as it is now; None where nobody has made it. Raises Unavailable,
    or Damaged when its metadata is gone.
    """
    with faults_of(dataset):
        if not catalog.table_exists((NAMESPACE, dataset)):
            return None
        return catalog.load_table((NAMESPACE, dataset))


def _with_new_columns(catalog: SqlCatalog, table: Table, contract: Contract) -> Table:
    known = set(table.schema().column_names)
    new = [column for column in contract.columns if column.name not in known]
    if not new:
        return table
    with suppress(CommitFailedException), table.update_schema() as change:
        # Another process may be first: then it is there. Ids follow on, as the contract's do.
        for column in new:
            change.add_column(column.name, ICEBERG_TYPES[column.type], doc=column.meaning)
    return catalog.load_table(table.name())


def metadata_location(catalog: SqlCatalog, dataset: str) -> str | None:
    """Return where the catalog says that a table's newest metadata is; None: no such table.

    Metadata files never change, so whoever has this one need not read it again.
    """
    named = select(IcebergTables.metadata_location).where(
        IcebergTables.catalog_name == catalog.name,
        IcebergTables.table_namespace == NAMESPACE,
        IcebergTables.table_name == dataset,
    )
    with catalog.engine.connect() as connection:
        return connection.execute(named).scalar_one_or_none()

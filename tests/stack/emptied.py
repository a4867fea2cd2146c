"""The stack's lakehouse, emptied: its servers are for tests only."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import replace
from pathlib import Path

import psycopg

from lake.contracts.contract import LEDGER_DATASETS, NUMBERED_DATASETS
from lake.state import postgres_dsn
from lake.warehouse import Bucket, warehouse_of

EMPTIED = (
    "crypto_trades",
    "crypto_quotes",
    "crypto_aggregates",
    "market_sentiment",
    "quarantine",
    "ingest_batches",
    "ledger_minutes",
    "feed_gaps",
    "instruments",
    "shards",
    "lake_removals",
    "verified_frames",
    "verified_units",
    "verified_files",
    "roll_1m",
    "roll_5m",
    "roll_1h",
    "roll_1d",
    "roll_marks",
    "quality_marks",
    *(name for name in NUMBERED_DATASETS if name not in LEDGER_DATASETS),
)


def emptied(home: Path) -> tuple[str, Bucket]:
    """Forget every table and row of the stack; return its address, and a place of one's own.

    The journals go too: what they hold would come again, beside what is journalled next.
    """
    dsn, warehouse = postgres_dsn(home), warehouse_of(home)
    assert isinstance(warehouse, Bucket)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DELETE FROM public.iceberg_tables WHERE catalog_name = 'ticklake'")
        tables = ", ".join(f"market.{name}" for name in EMPTIED)
        connection.execute(f"TRUNCATE {tables} CASCADE".encode())
        connection.execute("DELETE FROM market.lake_marks WHERE snapshot_id <> 0")
    shutil.rmtree(home / "journal", ignore_errors=True)
    return dsn, replace(warehouse, location=f"{warehouse.location}/market/test-{uuid.uuid4().hex}")

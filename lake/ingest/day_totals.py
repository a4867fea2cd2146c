"""What a day of a dataset should hold by the ledger, and what the lake's files hold of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import duckdb
import psycopg

from lake import ledger
from lake.archive.book import left_content
from lake.contracts.contract import load
from lake.hot.chunks import bounds
from lake.views.client import Client
from lake.views.engine import file_fault


@dataclass(frozen=True, slots=True)
class Totals:
    """Rows and digest of one day of a dataset."""

    rows: int
    digest: Decimal


def ledger_totals(
    connection: psycopg.Connection, dataset: str, day: date
) -> tuple[Totals, dict[int, int]]:
    """Return what the ledger says of a day, and each shard's last frame with rows in it."""
    rows = connection.execute(
        "SELECT shard, sum(rows), sum(digest), max(last_frame) FROM market.ledger_minutes"
        " WHERE dataset = %s AND minute >= %s AND minute < %s GROUP BY shard",
        (dataset, *bounds(day)),
    ).fetchall()
    total = Totals(sum(int(r[1]) for r in rows), sum((r[2] for r in rows), Decimal(0)))
    return total, {int(r[0]): int(r[3]) for r in rows}


def lake_totals(client: Client, dataset: str, day: date) -> Totals:
    """Recompute rows and digest of a day from the lake's files."""
    time = load(dataset).ledger_time
    start = int(bounds(day)[0].timestamp()) * 1_000_000
    where = (
        f"{time} >= make_timestamptz({start})"
        f" AND {time} < make_timestamptz({start + 86_400_000_000})"
    )
    totals = ledger.totals_sql(dataset, "duckdb", f"lake.{dataset}", where)
    try:
        row = client.duckdb.execute(
            f"SELECT coalesce(sum(rows), 0), coalesce(sum(digest), 0) FROM ({totals})"
        ).fetchone()
    except duckdb.Error as error:
        raise file_fault(f"lake.{dataset}", error) from error
    assert row is not None
    return Totals(int(row[0]), Decimal(row[1]))


def totals_with_archived(
    connection: psycopg.Connection, client: Client, dataset: str, day: date
) -> Totals:
    """Return what the lake holds of a day, and what has left it for the archive."""
    found = lake_totals(client, dataset, day)
    snapshot = client.snapshots.get(dataset)
    if snapshot is None or not snapshot.left:
        return found
    gone = left_content(connection, dataset, day, snapshot.left)
    return Totals(found.rows + gone.rows, found.digest + gone.digest)

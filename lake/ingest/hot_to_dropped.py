"""Let a day leave the hot tier once its age has come and the lake is proven to hold it.

A day goes when its retention age has passed, the lake's rows of that day equal the ledger's to the
last bit, and a grace longer than any allowed query has passed since the last row of it came. Then,
in one transaction with a short lock timeout: lock, prove again, drop. The locks keep writers out of
that day, so a late row either comes before the second proof or makes the day anew, and keep the
lake's table where it is, so that nobody takes it back to before the proof unseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import psycopg
from psycopg import errors, sql

from lake import ledger
from lake.clock import Clock, utc_from_us
from lake.contracts.contract import TICK_DATASETS, load
from lake.errors import Damaged, Unavailable
from lake.hot.partitions import (
    DROP_LOCK_TIMEOUT_MS,
    drop_partition,
    existing_partitions,
    partition_name,
)
from lake.steps import Steps
from lake.views.client import Client
from lake.views.snapshot import CATALOG, NAMESPACE, Snapshot, goes_on_from

GRACE_S = 900
"""Seconds since a day's last row: longer than the longest allowed query on the hot tier."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Rows and digest of one day of a dataset."""

    rows: int
    digest: Decimal


@dataclass(frozen=True, slots=True)
class Leaving:
    """A day and what became of it: dropped, or the reason why it stays."""

    dataset: str
    day: date
    rows: int
    dropped: bool
    reason: str = ""


def due_days(connection: psycopg.Connection, dataset: str, clock: Clock) -> list[date]:
    """Return the days whose retention age in hot has passed, oldest first."""
    age_days = load(dataset).retention_days["hot"]
    if age_days is None:
        return []
    horizon = utc_from_us(clock.now_us()) - timedelta(days=age_days + 1)
    return [day for day in existing_partitions(connection, dataset) if _start(day) <= horizon]


def drop_due(
    connection: psycopg.Connection,
    client: Client,
    clock: Clock,
    *,
    grace_s: int = GRACE_S,
    steps: Steps | None = None,
) -> list[Leaving]:
    """Drop every day that is due and proven; say of the others why they stay.

    connection is in autocommit mode.
    """
    client.refresh()
    return [
        _leave(connection, client, clock, dataset, day, grace_s, steps or Steps())
        for dataset in TICK_DATASETS
        for day in due_days(connection, dataset, clock)
    ]


def _leave(
    connection: psycopg.Connection,
    client: Client,
    clock: Clock,
    dataset: str,
    day: date,
    grace_s: int,
    steps: Steps,
) -> Leaving:
    promised, last_frames = ledger_totals(connection, dataset, day)
    held = client.snapshots[dataset].through if dataset in client.snapshots else {}
    behind = [shard for shard, frame in last_frames.items() if held.get(shard, 0) < frame]
    if behind:
        return Leaving(dataset, day, promised.rows, False, f"not yet in the lake: shards {behind}")
    if _last_write(connection, last_frames) > utc_from_us(clock.now_us()) - timedelta(
        seconds=grace_s
    ):
        return Leaving(dataset, day, promised.rows, False, f"written to within {grace_s} s")
    found = lake_totals(client, dataset, day)
    if found != promised:
        reason = f"the lake has {found.rows} rows, the ledger {promised.rows}, or they differ"
        return Leaving(dataset, day, promised.rows, False, reason)
    steps.at("day.drop")
    try:
        _drop_proven(connection, dataset, day, promised, client.snapshots.get(dataset))
    except (Unavailable, errors.LockNotAvailable):
        return Leaving(dataset, day, promised.rows, False, "in use; tried again later")
    except Damaged as error:
        return Leaving(dataset, day, promised.rows, False, error.fault)
    return Leaving(dataset, day, promised.rows, True)


def _drop_proven(
    connection: psycopg.Connection,
    dataset: str,
    day: date,
    promised: Totals,
    proven: Snapshot | None,
) -> None:
    """Lock, prove again, drop, all or nothing."""
    with connection.transaction():
        connection.execute(
            "SELECT set_config('lock_timeout', %s, true)", (f"{DROP_LOCK_TIMEOUT_MS}ms",)
        )
        name = sql.Identifier(*partition_name(dataset, day).split("."))
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(name))
        again, _ = ledger_totals(connection, dataset, day)
        if again != promised:
            raise Damaged(partition_name(dataset, day), "a late row came in", "prove again")
        _hold_lake(connection, dataset, proven)
        drop_partition(connection, dataset, day)
        connection.execute(
            "INSERT INTO market.dropped_partitions (dataset, day, rows, digest)"
            " VALUES (%s, %s, %s, %s)",
            (dataset, day, *_beyond_dropped(connection, dataset, day, promised)),
        )


def _hold_lake(connection: psycopg.Connection, dataset: str, proven: Snapshot | None) -> None:
    """Keep the lake's table where it is until the transaction ends; it must follow the proof."""
    if proven is None or proven.snapshot_id is None:
        return  # nothing was ever written: the ledger promises no row either
    row = connection.execute(
        "SELECT metadata_location FROM public.iceberg_tables WHERE catalog_name = %s"
        " AND table_namespace = %s AND table_name = %s FOR SHARE",
        (CATALOG, NAMESPACE, dataset),
    ).fetchone()
    if row is None or not goes_on_from(row[0], proven.snapshot_id):
        raise Damaged(f"lake.{dataset}", "was rolled back since the proof", "prove again")


def _beyond_dropped(
    connection: psycopg.Connection, dataset: str, day: date, total: Totals
) -> tuple[int, Decimal]:
    """Return what this drop takes away: a day may leave again after a late replay."""
    row = connection.execute(
        "SELECT coalesce(sum(rows), 0), coalesce(sum(digest), 0) FROM market.dropped_partitions"
        " WHERE dataset = %s AND day = %s",
        (dataset, day),
    ).fetchone()
    assert row is not None
    return total.rows - int(row[0]), total.digest - row[1]


def ledger_totals(
    connection: psycopg.Connection, dataset: str, day: date
) -> tuple[Totals, dict[int, int]]:
    """Return what the ledger says of a day, and each shard's last frame with rows in it."""
    rows = connection.execute(
        "SELECT shard, sum(rows), sum(digest), max(last_frame) FROM market.ledger_minutes"
        " WHERE dataset = %s AND minute >= %s AND minute < %s GROUP BY shard",
        (dataset, _start(day), _start(day) + timedelta(days=1)),
    ).fetchall()
    total = Totals(sum(int(r[1]) for r in rows), sum((r[2] for r in rows), Decimal(0)))
    return total, {int(r[0]): int(r[3]) for r in rows}


def lake_totals(client: Client, dataset: str, day: date) -> Totals:
    """Recompute rows and digest of a day from the lake's files."""
    start = int(_start(day).timestamp()) * 1_000_000
    where = (
        f"event_time >= make_timestamptz({start})"
        f" AND event_time < make_timestamptz({start + 86_400_000_000})"
    )
    totals = ledger.totals_sql(dataset, "duckdb", f"lake.{dataset}", where)
    row = client.duckdb.execute(
        f"SELECT coalesce(sum(rows), 0), coalesce(sum(digest), 0) FROM ({totals})"
    ).fetchone()
    assert row is not None
    return Totals(int(row[0]), Decimal(row[1]))


def _last_write(connection: psycopg.Connection, last_frames: dict[int, int]) -> datetime:
    times = [datetime.fromtimestamp(0, UTC)]
    for shard, frame in last_frames.items():
        row = connection.execute(
            "SELECT max(committed_time) FROM market.ingest_batches"
            " WHERE shard = %s AND last_frame = %s",
            (shard, frame),
        ).fetchone()
        if row and row[0]:
            times.append(row[0])
    return max(times)


def _start(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)

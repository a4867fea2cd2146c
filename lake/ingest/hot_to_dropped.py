"""Let a day leave the hot tier once its age has come and the lake is proven to hold it.

A day goes when its retention age has passed, the lake's rows of that day equal the ledger's to the
last bit, and a grace longer than any allowed query has passed since the last row of it came and
since the lake was first seen to hold that row: a query that began on an older lake has ended. Then,
in one transaction with a short lock timeout: lock, prove again, drop. The locks keep writers out of
that day, so a late row either comes before the second proof or makes the day anew, and keep the
lake's table where it is, so that nobody takes it back to before the proof unseen. Of a table that
is not cut by days the proven rows are deleted (lake.ingest.days_in_hot).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

import psycopg
from psycopg import errors
from psycopg.types.json import Json

from lake.clock import Clock, utc_from_us
from lake.contracts.ages import LEAVING_DATASETS, ROW_DATASETS
from lake.errors import Damaged, Unavailable
from lake.hot.alerts import clear_alert, raise_alert
from lake.hot.bars import are_rolled, keep_bars
from lake.hot.batches import last_write
from lake.hot.chunks import bounds
from lake.hot.edition import ask
from lake.hot.partitions import drop_partition, lock_day
from lake.ingest.day_totals import Totals, ledger_totals, totals_with_archived
from lake.ingest.days_in_hot import delete_rows, due_days
from lake.parts import ShowPart, by_parts, nobody
from lake.steps import Steps
from lake.tables.names import CATALOG, NAMESPACE
from lake.views.client import Client
from lake.views.snapshot import Snapshot, goes_on_from

GRACE_S = 900
"""Seconds since a day's last row, and since the lake holds it: longer than the longest query that
is allowed on the hot tier."""

BUSY = "hot tier"
"""What a fault names that is no failed proof: it is proven again the next time."""

DROP_TRIES_MAX = 3
DROP_PAUSE_S = 0.5
"""A day in use is tried again so often, with a pause in which its writers and readers go on; then
not before the next look."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """A day and what became of it: dropped, or the reason why it stays.

    failed: the reason is a failed proof, and not that the day is young, busy or on its way.
    """

    dataset: str
    day: date
    rows: int
    dropped: bool
    reason: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proven of a day: the ledger's totals and every shard's last frame just before.

    upto: shard -> last frame of those totals.
    """

    dataset: str
    day: date
    promised: Totals
    frames: dict[int, int]
    lake: Snapshot | None
    upto: Mapping[int, int] = field(default_factory=dict)


def drop_due(
    connection: psycopg.Connection,
    client: Client,
    clock: Clock,
    *,
    grace_s: int = GRACE_S,
    steps: Steps | None = None,
    show: ShowPart = nobody,
) -> list[Leaving]:
    """Drop every day that is due and proven; say of the others why they stay.

    connection is in autocommit mode. A failed proof is an open alert until the day has left. show:
    is told how far it is.
    """
    client.refresh()
    edition = ask(connection)
    due = [
        (dataset, day)
        for dataset in LEAVING_DATASETS
        for day in due_days(connection, dataset, clock, edition)
    ]
    found = []
    for dataset, day in by_parts(due, show):
        leaving = _leave(connection, client, clock, dataset, day, grace_s, steps or Steps())
        thing = f"hot {dataset} of {day}"
        if leaving.failed:
            raise_alert(connection, clock, thing, leaving.reason, "run `ticklake verify`")
        elif leaving.dropped:
            clear_alert(connection, thing)
        found.append(leaving)
    return found


def _leave(
    connection: psycopg.Connection,
    client: Client,
    clock: Clock,
    dataset: str,
    day: date,
    grace_s: int,
    steps: Steps,
) -> Leaving:
    frames = _last_frames(connection)
    promised, last_frames = ledger_totals(connection, dataset, day)

    def stays(reason: str, *, failed: bool = False) -> Leaving:
        return Leaving(dataset, day, promised.rows, False, reason, failed)

    held = client.snapshots[dataset].through if dataset in client.snapshots else {}
    behind = [shard for shard, frame in last_frames.items() if held.get(shard, 0) < frame]
    if behind:
        return stays(f"not yet in the lake: shards {behind}")
    if reason := _is_young(connection, clock, dataset, day, last_frames, grace_s):
        return stays(reason)
    found = totals_with_archived(connection, client, dataset, day)
    if found != promised:
        reason = f"the lake has {found.rows} rows, the ledger {promised.rows}, or they differ"
        return stays(reason, failed=True)
    if dataset == "crypto_trades" and not are_rolled(connection, last_frames):
        return stays("not yet in the roll-ups")
    steps.at("day.drop")
    proof = Proof(dataset, day, promised, frames, client.snapshots.get(dataset), last_frames)
    try:
        if dataset == "crypto_trades":
            keep_bars(connection, day)
    except psycopg.DatabaseError as error:
        if connection.broken:
            raise
        return stays(f"its bars could not be kept ({str(error).splitlines()[0]})", failed=True)
    try:
        left = _drop_in_tries(connection, client, clock, proof)
    except Damaged as error:
        return stays(error.fault, failed=error.thing != BUSY)
    return (
        Leaving(dataset, day, promised.rows, True) if left else stays("in use; tried again later")
    )


def _is_young(
    connection: psycopg.Connection,
    clock: Clock,
    dataset: str,
    day: date,
    last_frames: dict[int, int],
    grace_s: int,
) -> str:
    """Say why a query may still run that needs the day's rows in hot; "" where none may."""
    now = utc_from_us(clock.now_us())
    oldest = now - timedelta(seconds=grace_s)
    if last_write(connection, last_frames) > oldest:
        return f"written to within {grace_s} s"
    if _covered_since(connection, dataset, day, last_frames, now) > oldest:
        return f"seen in the lake for less than {grace_s} s"
    return ""


def _covered_since(
    connection: psycopg.Connection,
    dataset: str,
    day: date,
    last_frames: dict[int, int],
    now: datetime,
) -> datetime:
    """Note that the lake holds these frames of a day; return since when it is seen to, UTC."""
    row = connection.execute(
        "INSERT INTO market.covered_days AS c VALUES (%(of)s, %(on)s, %(frames)s, %(now)s)"
        " ON CONFLICT (dataset, day) DO UPDATE SET frames = excluded.frames, seen_time ="
        " CASE WHEN c.frames = excluded.frames AND c.seen_time <= excluded.seen_time"
        " THEN c.seen_time ELSE excluded.seen_time END RETURNING seen_time",
        {
            "of": dataset,
            "on": day,
            "frames": Json({str(shard): frame for shard, frame in last_frames.items()}),
            "now": now,
        },
    ).fetchone()
    assert row is not None
    found: datetime = row[0]
    return found


def _drop_in_tries(
    connection: psycopg.Connection, client: Client, clock: Clock, proof: Proof
) -> bool:
    for left in reversed(range(DROP_TRIES_MAX)):
        try:
            _drop_proven(connection, client, proof)
            return True
        except (Unavailable, errors.LockNotAvailable, errors.DeadlockDetected):
            if left:
                clock.sleep(DROP_PAUSE_S)
    return False


def _drop_proven(connection: psycopg.Connection, client: Client, proof: Proof) -> None:
    """Lock, look whether the proof still stands, drop, all or nothing."""
    dataset, day = proof.dataset, proof.day
    with connection.transaction():
        if dataset in ROW_DATASETS:
            _hold_lake(connection, client, dataset, proof.lake)
            gone = _delete_proven(connection, proof)
        else:
            locked = lock_day(connection, dataset, day)
            if _has_more(connection, proof):
                raise Damaged(BUSY, "a late row came in", "prove again")
            _hold_lake(connection, client, dataset, proof.lake)
            drop_partition(connection, dataset, day, locked)
            gone = beyond_dropped(connection, proof)
        connection.execute(
            "DELETE FROM market.covered_days WHERE dataset = %s AND day = %s", (dataset, day)
        )
        connection.execute(
            "INSERT INTO market.dropped_partitions (dataset, day, rows, digest)"
            " VALUES (%s, %s, %s, %s)",
            (dataset, day, *gone),
        )


def _delete_proven(connection: psycopg.Connection, proof: Proof) -> tuple[int, Decimal]:
    """Delete the rows of the proof; raises Damaged where they are more or fewer than it says."""
    rows = delete_rows(connection, proof.dataset, proof.day, proof.upto)
    gone = beyond_dropped(connection, proof)
    if rows != gone[0]:
        fault = f"the hot tier has {rows} rows, the ledger {gone[0]}"
        raise Damaged(f"hot {proof.dataset} of {proof.day}", fault, "run `ticklake verify`")
    return gone


def _last_frames(connection: psycopg.Connection) -> dict[int, int]:
    return dict(connection.execute("SELECT shard::int, last_frame FROM market.shards").fetchall())


def _has_more(connection: psycopg.Connection, proof: Proof) -> bool:
    """Tell whether the ledger has rows of the day beyond the frames of the proof.

    Costs what came since the proof: the day is locked meanwhile, and its ledger may be long.
    """
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM market.ledger_minutes AS l"
        " LEFT JOIN unnest(%s::int[], %s::bigint[]) AS f (shard, frame) ON f.shard = l.shard"
        " WHERE l.dataset = %s AND l.minute >= %s AND l.minute < %s"
        " AND l.first_frame > %s AND l.first_frame > coalesce(f.frame, 0))",
        (
            list(proof.frames),
            list(proof.frames.values()),
            proof.dataset,
            *bounds(proof.day),
            min(proof.frames.values(), default=0),
        ),
    ).fetchone()
    return bool(row and row[0])


def _hold_lake(
    connection: psycopg.Connection, client: Client, dataset: str, proven: Snapshot | None
) -> None:
    """Keep the lake's table where it is until the transaction ends; it must follow the proof."""
    if proven is None or proven.snapshot_id is None:
        return  # nothing was ever written: the ledger promises no row either
    row = connection.execute(
        "SELECT metadata_location FROM public.iceberg_tables WHERE catalog_name = %s"
        " AND table_namespace = %s AND table_name = %s FOR SHARE",
        (CATALOG, NAMESPACE, dataset),
    ).fetchone()
    if row is None or not goes_on_from(client.duckdb, row[0], proven.snapshot_id):
        raise Damaged(f"lake.{dataset}", "was rolled back since the proof", "prove again")


def beyond_dropped(connection: psycopg.Connection, proof: Proof) -> tuple[int, Decimal]:
    """Return what this drop takes away: a day may leave again after a late replay, and some of its
    rows may never have been in hot. A batch that is staged meanwhile is not of the proof.
    """
    row = connection.execute(
        "SELECT coalesce(sum(rows), 0), coalesce(sum(digest), 0) FROM ("
        "SELECT rows, digest FROM market.dropped_partitions WHERE dataset = %(of)s AND day = %(on)s"
        " UNION ALL"
        " SELECT s.rows, s.digest FROM market.staged_files AS s"
        " JOIN unnest(%(shards)s::int[], %(frames)s::bigint[]) AS f (shard, frame)"
        " ON f.shard = s.shard AND s.last_frame <= f.frame"
        " WHERE s.dataset = %(of)s AND s.day = %(on)s"
        ") AS gone",
        {
            "of": proof.dataset,
            "on": proof.day,
            "shards": list(proof.frames),
            "frames": list(proof.frames.values()),
        },
    ).fetchone()
    assert row is not None
    return proof.promised.rows - int(row[0]), proof.promised.digest - row[1]

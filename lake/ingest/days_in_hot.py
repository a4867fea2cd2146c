"""Days of the hot tier: which there are, which are due, and how rows leave where no day is dropped.

Rows of a table that is not cut by days are deleted. No lock is needed, as it is for a day that is
dropped whole: what comes late lies beyond the frames of the proof, and stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import psycopg

from lake.clock import Clock, utc_from_us
from lake.contracts.ages import ROW_DATASETS
from lake.contracts.contract import load
from lake.hot.chunks import bounds
from lake.hot.edition import Edition, leave_age_days
from lake.hot.partitions import existing_partitions
from lake.views.union_view import last_seq


def hot_days(connection: psycopg.Connection, dataset: str) -> list[date]:
    """Return the UTC days that a table of the hot tier has, oldest first."""
    if dataset not in ROW_DATASETS:
        return list(existing_partitions(connection, dataset))
    time = load(dataset).ledger_time
    day = f"({time} AT TIME ZONE 'UTC')::date"
    rows = connection.execute(f"SELECT DISTINCT {day} FROM market.{dataset} ORDER BY 1".encode())
    return [each for (each,) in rows]


def due_days(
    connection: psycopg.Connection, dataset: str, clock: Clock, edition: Edition
) -> list[date]:
    """Return the days whose retention age in the hot tier has passed, oldest first."""
    age_days = leave_age_days(dataset, edition)
    if age_days is None:
        return []
    horizon = utc_from_us(clock.now_us()) - timedelta(days=age_days + 1)
    return [day for day in hot_days(connection, dataset) if bounds(day)[0] <= horizon]


def delete_rows(
    connection: psycopg.Connection, dataset: str, day: date, upto: Mapping[int, int]
) -> int:
    """Delete a day's rows of frames up to these, shard -> frame, inclusive; return how many."""
    time = load(dataset).ledger_time
    low, high = bounds(day)
    gone = connection.execute(
        (
            f"DELETE FROM market.{dataset} AS d"
            " USING unnest(%s::int[], %s::bigint[]) AS f (shard, seq)"
            f" WHERE d.shard = f.shard AND d.seq <= f.seq AND d.{time} >= %s AND d.{time} < %s"
        ).encode(),
        (list(upto), [last_seq(frame) for frame in upto.values()], low, high),
    )
    return gone.rowcount

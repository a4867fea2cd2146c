"""How old the newest event of a dataset is, from the ledger and one batch's rows: a matter of
milliseconds, whatever lies in the hot tier."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg
from psycopg import sql

from lake.contracts.contract import load
from lake.feeds.codec import INDEX_BITS

AHEAD_MAX = timedelta(minutes=1)
"""An event whose venue's clock is further ahead of ours says nothing of freshness."""


def newest_event(connection: psycopg.Connection, dataset: str, now: datetime) -> datetime | None:
    """Return the event time of the newest row of a tick dataset in hot; None where there is none.

    Looked for in the newest batch that has rows of the newest minute, of each shard. The session
    goes by ranges (lake.database.BY_RANGE).
    """
    minute = _newest_minute(connection, dataset, now)
    if minute is None:
        return None
    batches = connection.execute(_BATCHES, {"dataset": dataset, "minute": minute}).fetchall()
    column = sql.Identifier(load(dataset).ledger_time)
    statement = sql.SQL(
        "SELECT max({column}) FROM market.{table} WHERE {column} >= %s AND {column} < %s"
        " AND shard = %s AND seq >= %s AND seq < %s"
    ).format(column=column, table=sql.Identifier(dataset))
    found = [minute]
    for shard, first, last in batches:
        places = (first << INDEX_BITS, (last + 1) << INDEX_BITS)
        row = connection.execute(
            statement, (minute, minute + timedelta(minutes=1), shard, *places)
        ).fetchone()
        if row is not None and row[0] is not None:
            found.append(row[0])
    return max(found)


def _newest_minute(connection: psycopg.Connection, dataset: str, now: datetime) -> datetime | None:
    row = connection.execute(
        "SELECT minute FROM market.ledger_minutes WHERE dataset = %s AND minute <= %s"
        " ORDER BY minute DESC LIMIT 1",
        (dataset, now + AHEAD_MAX),
    ).fetchone()
    return row[0] if row else None


_BATCHES = """
SELECT DISTINCT ON (shard) shard, first_frame, last_frame FROM market.ledger_minutes
WHERE dataset = %(dataset)s AND minute = %(minute)s ORDER BY shard, last_frame DESC
"""

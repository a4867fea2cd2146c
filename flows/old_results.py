"""Results of quality leave the hot tier at their age, once the lake holds them.

The newest result of each rule stays, whatever its age: it says how things are now. Older ones are
read from the lake, by the same view.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg
from pyiceberg.catalog.sql import SqlCatalog

from flows.numbered_to_lake import PLACE
from lake.clock import Clock, utc_from_us
from lake.hot.edition import Edition, leave_age_days
from lake.quality.book import DATASET
from lake.tables.catalog import known_table
from lake.tables.lake_table import holdings_of

ROWS_MAX = 50_000
"""Rows of one transaction."""


def due(connection: psycopg.Connection, clock: Clock, edition: Edition) -> int:
    """Return how many results are older than their age in the hot tier, but for the newest."""
    horizon = _horizon(clock, edition)
    if horizon is None:
        return 0
    row = connection.execute(f"SELECT count(*) {_OLD}".encode(), (horizon,)).fetchone()
    return int(row[0]) if row else 0


def leave(
    connection: psycopg.Connection, catalog: SqlCatalog, clock: Clock, edition: Edition
) -> int:
    """Delete what is due and in the lake; return the rows. The connection is in autocommit."""
    horizon = _horizon(clock, edition)
    table = known_table(catalog, DATASET)
    if horizon is None or table is None:
        return 0
    held = holdings_of(table)
    if held.rolled_back:
        return 0
    gone = 0
    while True:
        found = connection.execute(
            _DELETE.encode(), (horizon, held.through.get(PLACE, 0), ROWS_MAX)
        )
        gone += found.rowcount
        if found.rowcount < ROWS_MAX:
            return gone


def _horizon(clock: Clock, edition: Edition) -> datetime | None:
    age_days = leave_age_days(DATASET, edition)
    return None if age_days is None else utc_from_us(clock.now_us()) - timedelta(days=age_days)


_OLD = f"""
FROM market.{DATASET} AS old WHERE checked_time < %s AND EXISTS (
    SELECT FROM market.{DATASET} AS newer
    WHERE (newer.dataset, newer.rule) = (old.dataset, old.rule)
        AND newer.run_id > old.run_id)
"""
_DELETE = f"""
DELETE FROM market.{DATASET} AS gone USING (
    SELECT seq {_OLD} AND seq <= %s ORDER BY seq LIMIT %s
) AS old WHERE gone.seq = old.seq
"""

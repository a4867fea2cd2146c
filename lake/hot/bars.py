"""Roll-ups of trades in the hot tier: crypto_agg_1m, crypto_agg_5m, crypto_agg_1h, crypto_agg_1d.

Where the server has continuous aggregates they are those, each over the one before, refreshed by
the server's policies; days older than the policies look at are refreshed here when late trades
touch them. Elsewhere the roll-ups are tables of ours, into which new trades are merged: the cost
is that of the new rows, and a late trade changes the bars that it belongs to and no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import psycopg
from psycopg import sql

from lake.clock import Clock, utc_from_us
from lake.hot.batches import frame_within, last_frames
from lake.hot.chunks import bounds
from lake.hot.edition import Edition, ask, leave_age_days
from warehouse_sql.statement import text

LEVELS = ("1m", "5m", "1h", "1d")

STEPS_ROWS_MAX = 200_000
"""Rows that one merge takes: about 0.3 s, and then the next."""

REFRESH_EVERY = {"1m": "1 minute", "5m": "5 minutes", "1h": "30 minutes", "1d": "1 hour"}
"""How often a policy refreshes its aggregate; what is newer is computed when asked for."""

MARGIN_DAYS = 1
"""Policies look at days this much younger than the age at which trades leave: what has left must
not be refreshed, its bars would go with it."""

LEAVE_DAYS_MIN = 4
"""A policy needs two buckets of a day beside the margin."""

FAR_DAYS = 3_650
"""What policies look at where trades never leave."""

DELETE_ROWS_MAX = 10_000
"""Bars of ours deleted in one statement."""


def window_days(edition: Edition) -> int:
    """Return the age, in days, up to which the server's policies refresh bars."""
    assert edition.compresses
    age_days = leave_age_days("crypto_trades", edition) or FAR_DAYS
    return max(age_days, LEAVE_DAYS_MIN) - MARGIN_DAYS


def make_bars(connection: psycopg.Connection, *, continuous: bool) -> bool:
    """Make what crypto_agg_1m and the others are in this database; False where they are there."""
    row = connection.execute("SELECT to_regclass('market.crypto_agg_1m')").fetchone()
    if row and row[0]:
        return False
    name = "continuous_aggregates" if continuous else "own_roll_ups"
    connection.execute(text(f"hot/{name}.sql").encode())
    return True


def are_continuous(connection: psycopg.Connection) -> bool:
    """Tell whether this database's roll-ups are continuous aggregates: they stay what they are."""
    if not ask(connection).compresses:
        return False
    row = connection.execute(
        "SELECT count(*) FROM timescaledb_information.continuous_aggregates"
        " WHERE view_schema = 'market' AND view_name = 'crypto_agg_1m'"
    ).fetchone()
    return bool(row and row[0])


class HotToBars:
    """Brings the roll-ups up to what the hot tier holds; connection is in autocommit mode."""

    def __init__(self, connection: psycopg.Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._continuous = are_continuous(connection)

    def step(self) -> int:
        """Take the next frames of every shard, STEPS_ROWS_MAX rows each; return how many frames.

        0: the roll-ups hold what the hot tier does (the newest bars of continuous aggregates are
        computed by the server when they are asked for).
        """
        marks = roll_marks(self._connection)
        taken = 0
        for shard, last in last_frames(self._connection).items():
            after = marks.get(shard, 0)
            if after < last:
                upto = frame_within(self._connection, shard, after, last, rows_max=STEPS_ROWS_MAX)
                self._roll(shard, after, upto)
                taken += upto - after
        return taken

    def forget_old(self) -> int:
        """Delete bars of ours whose age has come; return how many. Policies do it elsewhere."""
        return 0 if self._continuous else delete_old(self._connection, self._clock)

    def _roll(self, shard: int, after: int, upto: int) -> None:
        if self._continuous:
            for day in self._old_days(shard, after, upto):
                refresh_day(self._connection, day)
            self._connection.execute(_MOVE_MARK, {"shard": shard, "after": after, "upto": upto})
        else:
            self._connection.execute(
                "SELECT market.roll_up(%s::smallint, %s, %s)", (shard, after, upto)
            )

    def _old_days(self, shard: int, after: int, upto: int) -> list[date]:
        """Return touched days that the policies do not look at and that never left.

        Rows that were staged for the lake are in no bar of the hot tier.
        """
        days = window_days(ask(self._connection)) - MARGIN_DAYS
        horizon = utc_from_us(self._clock.now_us()) - timedelta(days=days)
        rows = self._connection.execute(
            "SELECT DISTINCT (minute AT TIME ZONE 'UTC')::date AS day FROM market.ledger_minutes"
            " WHERE dataset = 'crypto_trades' AND shard = %s AND first_frame > %s"
            " AND last_frame <= %s AND minute < %s AND NOT EXISTS ("
            "  SELECT FROM market.dropped_partitions AS d WHERE d.dataset = 'crypto_trades'"
            "  AND d.day = (minute AT TIME ZONE 'UTC')::date) AND NOT EXISTS ("
            "  SELECT FROM market.staged_files AS s WHERE s.dataset = 'crypto_trades'"
            "  AND s.shard = ledger_minutes.shard AND s.last_frame = ledger_minutes.last_frame"
            "  AND s.day = (minute AT TIME ZONE 'UTC')::date) ORDER BY day",
            (shard, after, upto, horizon),
        )
        return [day for (day,) in rows]


def roll_marks(connection: psycopg.Connection) -> dict[int, int]:
    """Return shard -> last frame whose trades are in the roll-ups, inclusive."""
    return dict(connection.execute("SELECT shard::int, frame FROM market.roll_marks").fetchall())


def are_rolled(connection: psycopg.Connection, frames: Mapping[int, int]) -> bool:
    """Tell whether the roll-ups hold the trades of these shards through these frames, inclusive."""
    marks = roll_marks(connection)
    return all(marks.get(shard, 0) >= frame for shard, frame in frames.items())


def keep_bars(connection: psycopg.Connection, day: date) -> None:
    """Make sure that a day's bars outlive its trades; connection is in autocommit mode."""
    if not are_continuous(connection):
        return
    left = connection.execute(
        "SELECT 1 FROM market.dropped_partitions WHERE dataset = 'crypto_trades' AND day = %s",
        (day,),
    ).fetchone()
    if left is None:  # of a day that left before, the trades that came late are not the whole
        refresh_day(connection, day)


def refresh_day(connection: psycopg.Connection, day: date) -> None:
    """Have a day's bars computed by the server where trades have changed, level by level."""
    start, end = bounds(day)
    for level in LEVELS:
        connection.execute(
            sql.SQL(
                "CALL refresh_continuous_aggregate({}, {}::timestamptz, {}::timestamptz)"
            ).format(f"market.crypto_agg_{level}", start.isoformat(), end.isoformat())
        )


def delete_old(connection: psycopg.Connection, clock: Clock) -> int:
    """Delete bars of our own roll-ups whose age has come, that of published bars; return how many.

    It is the same for every level, as where each level is computed from the one below.
    """
    age_days = leave_age_days("crypto_aggregates", ask(connection))
    if age_days is None:
        return 0
    oldest = utc_from_us(clock.now_us()) - timedelta(days=age_days)
    deleted = 0
    for level in LEVELS:
        statement = sql.SQL(
            "DELETE FROM {table} WHERE ctid = ANY(ARRAY("
            "SELECT ctid FROM {table} WHERE bucket < %s LIMIT {rows}))"
        ).format(table=sql.Identifier("market", f"roll_{level}"), rows=DELETE_ROWS_MAX)
        while (gone := connection.execute(statement, (oldest,)).rowcount) > 0:
            deleted += gone
    return deleted


_MOVE_MARK = """
INSERT INTO market.roll_marks AS m VALUES (%(shard)s, %(upto)s)
ON CONFLICT (shard) DO UPDATE SET frame = excluded.frame WHERE m.frame = %(after)s
"""

"""The books of an import: since when it is dual-written, what was equal, who reads from where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import psycopg

from lake.errors import Refused, WrongUse

CONSUMERS = ("dashboard", "backtests", "trading")
"""Who moves to the new side, in this order."""

DUAL_WRITE_DAYS_MIN = 14
BACK_DAYS_MAX = 30
CHECK_AGE_MAX = timedelta(hours=24)
"""A comparison older than this says nothing about today."""

FOLLOW_AGE_MAX = timedelta(hours=1)
"""An import that was not followed for so long is not dual-written now."""

HOLE_MAX = timedelta(hours=6)
"""Following that stood still for longer begins its DUAL_WRITE_DAYS_MIN again. Nothing is lost by a
hole, since the next run goes on from `followed_upto`; but nobody compared what was there meanwhile.
"""

SIDES = ("old", "new")


@dataclass(frozen=True, slots=True)
class DayCheck:
    """One table and day on both sides."""

    table: str
    day: date
    old_rows: int
    new_rows: int
    equal: bool
    said: str


def begin(connection: psycopg.Connection, name: str, now: datetime) -> None:
    """Note that an import is dual-written from now on, unless it is already."""
    connection.execute(
        "INSERT INTO market.imports (name, began_time) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (name, now),
    )


def followed(connection: psycopg.Connection, name: str, now: datetime, upto: datetime) -> None:
    """Note that all rows of before `upto` have been followed; after a hole, dual-write begins."""
    connection.execute(
        "UPDATE market.imports SET followed_time = %(now)s, followed_upto = %(upto)s,"
        " unbroken_since = CASE WHEN %(now)s - followed_time <= %(hole)s THEN unbroken_since"
        " ELSE %(now)s END WHERE name = %(name)s",
        {"now": now, "upto": upto, "hole": HOLE_MAX, "name": name},
    )


def write_checks(
    connection: psycopg.Connection, name: str, checks: Sequence[DayCheck], now: datetime
) -> None:
    """Replace the comparison of an import."""
    with connection.transaction():
        connection.execute("DELETE FROM market.import_days WHERE name = %s", (name,))
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO market.import_days VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                [(name, c.table, c.day, c.old_rows, c.new_rows, c.equal, c.said, now)
                 for c in checks],
            )  # fmt: skip


def different_days(connection: psycopg.Connection, name: str, table: str) -> set[date]:
    """Return the days of a table in which the last comparison found a difference."""
    rows = connection.execute(
        "SELECT day FROM market.import_days WHERE name = %s AND table_name = %s AND NOT equal",
        (name, table),
    ).fetchall()
    return {day for (day,) in rows}


def side_of(connection: psycopg.Connection, name: str, consumer: str) -> str:
    """Return where a consumer reads now: old or new."""
    found = _last_move(connection, name, consumer)
    return found[0] if found else "old"


def _last_move(
    connection: psycopg.Connection, name: str, consumer: str
) -> tuple[str, datetime] | None:
    row = connection.execute(
        "SELECT side, moved_time FROM market.switch_moves WHERE name = %s AND consumer = %s"
        " ORDER BY move DESC LIMIT 1",
        (name, consumer),
    ).fetchone()
    return None if row is None else (str(row[0]), row[1])


def move(
    connection: psycopg.Connection, name: str, consumer: str, side: str, now: datetime
) -> None:
    """Let a consumer read from a side; counts from its next query on.

    To the new side: in the order of CONSUMERS, after DUAL_WRITE_DAYS_MIN of dual-write that has no
    hole and goes on, and with a comparison of the last day without a difference. Back to the old
    one: at once, for BACK_DAYS_MAX. Raises Refused with what is missing, WrongUse.
    """
    if consumer not in CONSUMERS or side not in SIDES:
        raise WrongUse(f"{consumer} {side}", "is unknown", f"{' | '.join(CONSUMERS)}, old | new")
    last = _last_move(connection, name, consumer)
    if (last[0] if last else "old") == side:
        return
    if side == "new":
        _check_may_move(connection, name, consumer, now)
    elif last is not None and now - last[1] > timedelta(days=BACK_DAYS_MAX):
        raise Refused(
            f"{consumer} of {name}",
            f"moved {last[1]:%F}, more than {BACK_DAYS_MAX} days ago",
            "the earlier database is no longer kept equal; import what it should have",
        )
    connection.execute(
        "INSERT INTO market.switch_moves (name, consumer, side, moved_time)"
        " VALUES (%s, %s, %s, %s)",
        (name, consumer, side, now),
    )


def _check_may_move(
    connection: psycopg.Connection, name: str, consumer: str, now: datetime
) -> None:
    place = CONSUMERS.index(consumer)
    for earlier in CONSUMERS[:place]:
        if side_of(connection, name, earlier) == "old":
            raise Refused(
                f"{consumer} of {name}", f"{earlier} still reads the old", "it goes first"
            )
    _check_dual_write(connection, name, f"{consumer} of {name}", now)
    found = connection.execute(
        "SELECT max(checked_time), count(*) FILTER (WHERE NOT equal) FROM market.import_days"
        " WHERE name = %s",
        (name,),
    ).fetchone()
    if not found or found[0] is None or now - found[0] > CHECK_AGE_MAX:
        raise Refused(f"{consumer} of {name}", "was not compared today", "ticklake import compare")
    if found[1]:
        raise Refused(
            f"{consumer} of {name}", f"{found[1]} days differ", "see `ticklake import compare`"
        )


def _check_dual_write(connection: psycopg.Connection, name: str, thing: str, now: datetime) -> None:
    row = connection.execute(
        "SELECT unbroken_since, followed_upto FROM market.imports WHERE name = %s", (name,)
    ).fetchone()
    since, upto = row or (None, None)
    if since is None or upto is None:
        raise Refused(thing, "was never followed", "put `ticklake import follow` on its schedule")
    if now - upto > FOLLOW_AGE_MAX:
        raise Refused(
            thing,
            f"was followed up to {upto:%F %H:%M} only, more than an hour ago",
            "run `ticklake import follow`, and see why its schedule did not",
        )
    days = (now - since).days
    if days < DUAL_WRITE_DAYS_MIN:
        raise Refused(
            thing,
            f"dual-written for {days} days of {DUAL_WRITE_DAYS_MIN}, since {since:%F %H:%M}",
            "keep `ticklake import follow` on its schedule and compare each day",
        )

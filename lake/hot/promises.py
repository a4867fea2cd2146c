"""Promises: how fresh, complete and good data is, against what its contract says, by the minute.

A promise is watched from the first time it holds; recordings of another day never hold and are not
late. Minutes are counted once each, by UTC day, so a month's share is a sum over few rows.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import floor
from typing import Literal

import psycopg

from lake.errors import WrongUse

Promise = Literal["freshness", "completeness", "quality"]
PROMISES: tuple[Promise, ...] = ("freshness", "completeness", "quality")

FEED = "feed"
"""Before the name of a feed, the thing whose freshness is that of what is heard."""

FRESH_SHARE_GOAL = 0.999
"""Of a month's minutes, those in which freshness must be kept."""

MINUTES_OF_DAY = 1_440
DAYS_KEPT = 400


@dataclass(frozen=True, slots=True)
class Measured:
    """One promise, measured: freshness in seconds of age, the others in shares of 1.

    bound: inclusive; the oldest age, or the least share.
    """

    thing: str
    promise: Promise
    value: float
    bound: float

    @property
    def met(self) -> bool:
        """Tell whether the promise is kept."""
        return self.value <= self.bound if self.promise == "freshness" else self.value >= self.bound

    def fault(self) -> str:
        """Say in words how it is broken."""
        if self.promise == "freshness" and self.thing.startswith(f"{FEED} "):
            return f"not heard for more than {self.bound / 60:g} min, and its ingest did not end it"
        if self.promise == "freshness":
            return f"no event for more than {self.bound / 60:g} min"
        if self.promise == "completeness":
            return f"less than {self.bound:.1%} of the last hour is free of gaps"
        return f"quality score below {self.bound:.0%}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a promise stood at its last look; watched_since None: it never held yet."""

    measured: Measured
    checked_at: datetime
    watched_since: datetime | None
    paused_at: datetime | None

    @property
    def watched(self) -> bool:
        """Tell whether a breach is an alert."""
        return self.watched_since is not None and self.paused_at is None


@dataclass(frozen=True, slots=True)
class Month:
    """One promise over a month (its first day, UTC): minutes looked at, and those kept."""

    thing: str
    promise: Promise
    month: date
    minutes: int
    minutes_met: int

    @property
    def share(self) -> float:
        """Return the part of the minutes looked at in which it was kept."""
        return self.minutes_met / self.minutes

    @property
    def missed(self) -> int:
        """Return the minutes in which it was looked at and not kept."""
        return self.minutes - self.minutes_met

    @property
    def used_up(self) -> bool:
        """Tell whether more minutes were missed than the goal allows for the whole month."""
        days = monthrange(self.month.year, self.month.month)[1]
        return self.missed > (1 - FRESH_SHARE_GOAL) * days * MINUTES_OF_DAY


def note(
    connection: psycopg.Connection,
    now: datetime,
    found: Sequence[Measured],
    unanswered: Iterable[datetime] = (),
) -> list[Standing]:
    """Write down what was measured now; return how every promise stands, in one transaction.

    unanswered: minutes since the last look in which the hot tier did not answer, and so nobody
    could read it: they count as not kept, for all freshness that is watched; of feeds, those that
    are heard now.
    """
    with connection.transaction():
        for each in found:
            connection.execute(_NOTE, {**_row(each), "met": each.met, "now": now})
        for minute in sorted(set(unanswered)):
            connection.execute(_COUNT_UNANSWERED, {"minute": minute})
        things = {(each.thing, each.promise) for each in found}
        held = standings(connection)
        for standing in held:
            measured = standing.measured
            if standing.watched and (measured.thing, measured.promise) in things:
                row = {**_row(measured), "met": measured.met, "now": now}
                connection.execute(_COUNT, row)
        connection.execute(
            "DELETE FROM market.promise_days WHERE day < %s::date - %s", (now, DAYS_KEPT)
        )
    return held


def standings(connection: psycopg.Connection) -> list[Standing]:
    """Return how the promises stood at their last look, by thing and promise."""
    rows = connection.execute(
        "SELECT thing, promise, value, bound, checked_at, watched_since, paused_at"
        " FROM market.promises ORDER BY promise DESC, thing"
    )
    return [Standing(Measured(*row[:4]), *row[4:]) for row in rows]


def months(connection: psycopg.Connection, month: date) -> list[Month]:
    """Return each promise's month; those never looked at in it are left out."""
    rows = connection.execute(_MONTH, {"month": month.replace(day=1)})
    return [
        Month(thing, promise, month.replace(day=1), minutes, met)
        for thing, promise, minutes, met in rows
    ]


def this_month(connection: psycopg.Connection) -> list[Month]:
    """Return each promise's month that the server is in, UTC."""
    row = connection.execute("SELECT (now() AT TIME ZONE 'UTC')::date").fetchone()
    assert row is not None
    return months(connection, row[0])


def pause(connection: psycopg.Connection, thing: str, now: datetime | None) -> int:
    """Watch a thing's promises no more from now on, or again (None); return how many.

    Raises WrongUse for a thing without promises.
    """
    done = connection.execute(
        "UPDATE market.promises SET paused_at = %s WHERE thing = %s", (now, thing)
    )
    if not done.rowcount:
        rows = connection.execute("SELECT DISTINCT thing FROM market.promises ORDER BY 1")
        known = ", ".join(row[0] for row in rows)
        raise WrongUse(thing, "no promise of it is known", f"one of {known}" if known else "")
    return done.rowcount


def floor_percent(share: float) -> str:
    """Return a share in percent, rounded down: what fell short is never shown as the goal."""
    return f"{floor(share * 100_000) / 1_000:.3f} %"


def _row(each: Measured) -> Mapping[str, object]:
    return {
        "thing": each.thing,
        "promise": each.promise,
        "value": each.value,
        "bound": each.bound,
    }


_NOTE = """
INSERT INTO market.promises AS p (thing, promise, value, bound, met, checked_at, watched_since)
VALUES (%(thing)s, %(promise)s, %(value)s, %(bound)s, %(met)s, %(now)s,
    CASE WHEN %(met)s THEN %(now)s::timestamptz END)
ON CONFLICT (thing, promise) DO UPDATE SET value = excluded.value, bound = excluded.bound,
    met = excluded.met, checked_at = excluded.checked_at,
    watched_since = coalesce(p.watched_since, excluded.watched_since)
"""

_COUNT = """
INSERT INTO market.promise_days AS d VALUES (%(thing)s, %(promise)s,
    (%(now)s::timestamptz AT TIME ZONE 'UTC')::date, 1, %(met)s::int,
    date_trunc('minute', %(now)s::timestamptz))
ON CONFLICT (thing, promise, day) DO UPDATE SET minutes = d.minutes + 1,
    minutes_met = d.minutes_met + excluded.minutes_met, last_minute = excluded.last_minute
WHERE d.last_minute < excluded.last_minute
"""

_COUNT_UNANSWERED = """
INSERT INTO market.promise_days AS d SELECT thing, promise,
    (%(minute)s::timestamptz AT TIME ZONE 'UTC')::date, 1, 0, %(minute)s
FROM market.promises WHERE promise = 'freshness' AND watched_since < %(minute)s
    AND paused_at IS NULL AND (thing NOT LIKE 'feed %%' OR
        checked_at = (SELECT max(checked_at) FROM market.promises))
ON CONFLICT (thing, promise, day) DO UPDATE SET minutes = d.minutes + 1,
    last_minute = excluded.last_minute
WHERE d.last_minute < excluded.last_minute
"""

_MONTH = """
SELECT thing, promise, sum(minutes)::int, sum(minutes_met)::int FROM market.promise_days
WHERE day >= %(month)s AND day < %(month)s + interval '1 month'
GROUP BY 1, 2 ORDER BY promise DESC, thing
"""

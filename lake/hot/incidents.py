"""Incidents: alerts from their first moment to their end, and who is told of them, once.

All state is here in the hot tier: whoever goes on after a restart tells nobody again. A try is
counted before it is made; one that a kill cut short may have arrived, and is made once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import psycopg

Word = Literal["opened", "over"]

QUIET_S = 120
"""An alert that is gone for so long is over; one that is back sooner is the same incident."""

TRIES_MAX = 12
BACKOFF_S = 30
BACKOFF_S_MAX = 3_600
"""Tries come 30 s, 1 min, 2 min ... an hour after the one before: twelve take five hours."""

NOTICES_MAX = 20
"""Notices of one message."""

DAYS_KEPT = 400


@dataclass(frozen=True, slots=True)
class Notice:
    """What one receiver is to hear of an incident."""

    incident_id: int
    word: Word
    thing: str
    fault: str
    remedy: str
    opened_at: datetime
    closed_at: datetime | None

    def line(self) -> str:
        """Return it in words."""
        if self.word == "opened":
            since = f"(since {self.opened_at:%Y-%m-%d %H:%M} UTC)"
            return f"ALERT {self.thing}: {self.fault}: {self.remedy} {since}"
        assert self.closed_at is not None
        minutes = (self.closed_at - self.opened_at).total_seconds() / 60
        return f"OVER {self.thing}: {self.fault} (it took {minutes:,.0f} min)"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Of one receiver: notices that wait for another try, that were given up, the last fault."""

    receiver: str
    waiting: int
    given_up: int
    next_at: datetime | None
    fault: str


def reconcile(
    connection: psycopg.Connection, now: datetime, receivers: Sequence[str]
) -> tuple[int, int]:
    """Open an incident for each new alert, close those whose alert is gone for QUIET_S.

    Each makes a notice for every receiver; the end only for those who have one of the beginning.
    What a receiver that is no more was to hear is forgotten. Returns how many opened and closed.
    """
    with connection.transaction():
        opened = connection.execute(_OPEN, {"now": now}).fetchall()
        connection.execute(_BACK)
        connection.execute(_GONE, {"now": now})
        over = {"now": now, "quiet": now - timedelta(seconds=QUIET_S)}
        closed = connection.execute(_CLOSE, over).fetchall()
        told = {"now": now, "receivers": list(receivers)}
        connection.execute(_TELL, {**told, "ids": [row[0] for row in opened]})
        connection.execute(_TELL_END, {**told, "ids": [row[0] for row in closed]})
        connection.execute(_FORGET, told)
        connection.execute(
            "DELETE FROM market.incidents WHERE closed_at < %s", (now - timedelta(days=DAYS_KEPT),)
        )
    return len(opened), len(closed)


def due(connection: psycopg.Connection, receiver: str, now: datetime) -> list[Notice]:
    """Return what a receiver is to hear now, oldest incident first, NOTICES_MAX at most.

    Of an end it hears only after it heard of the beginning, and of a thing's next incident only
    after it heard of the end of the one before.
    """
    rows = connection.execute(_DUE, {"receiver": receiver, "now": now, "most": NOTICES_MAX})
    return [Notice(*row) for row in rows]


def begin_try(
    connection: psycopg.Connection, receiver: str, notices: Sequence[Notice], now: datetime
) -> None:
    """Count a try before it is made, and say when the next one may be."""
    connection.cursor().executemany(
        "UPDATE market.notices SET tries = tries + 1, next_at = %s + least(%s,"
        " %s * 2 ^ least(tries, 20)) * interval '1 second'"
        " WHERE incident_id = %s AND receiver = %s AND word = %s",
        [(now, BACKOFF_S_MAX, BACKOFF_S, each.incident_id, receiver, each.word)
         for each in notices],
    )  # fmt: skip


def end_try(
    connection: psycopg.Connection,
    receiver: str,
    notices: Sequence[Notice],
    now: datetime,
    fault: str | None,
) -> None:
    """Note that a message arrived, or (fault) did not; after TRIES_MAX it is given up."""
    connection.cursor().executemany(
        "UPDATE market.notices SET fault = %(fault)s,"
        " sent_at = CASE WHEN %(fault)s::text IS NULL THEN %(now)s::timestamptz END,"
        " given_up_at = CASE WHEN %(fault)s::text IS NOT NULL AND tries >= %(most)s"
        " THEN %(now)s::timestamptz END"
        " WHERE incident_id = %(id)s AND receiver = %(receiver)s AND word = %(word)s",
        [{"fault": fault, "now": now, "most": TRIES_MAX, "id": each.incident_id,
          "receiver": receiver, "word": each.word} for each in notices],
    )  # fmt: skip


def waiting(connection: psycopg.Connection) -> list[Waiting]:
    """Return the receivers that could not be told something, by name.

    What was given up counts for as long as its incident is open.
    """
    return [Waiting(*row) for row in connection.execute(_WAITING)]


_OPEN = """
INSERT INTO market.incidents (thing, fault, remedy, opened_at)
SELECT thing, fault, remedy, %(now)s FROM market.alerts ORDER BY raised_at, thing
ON CONFLICT (thing) WHERE closed_at IS NULL DO NOTHING RETURNING incident_id
"""
_BACK = """
UPDATE market.incidents AS i SET gone_at = NULL FROM market.alerts AS a
WHERE a.thing = i.thing AND i.closed_at IS NULL AND i.gone_at IS NOT NULL
"""
_GONE = """
UPDATE market.incidents AS i SET gone_at = %(now)s WHERE closed_at IS NULL AND gone_at IS NULL
    AND NOT EXISTS (SELECT FROM market.alerts AS a WHERE a.thing = i.thing)
"""
_CLOSE = """
UPDATE market.incidents SET closed_at = %(now)s
WHERE closed_at IS NULL AND gone_at <= %(quiet)s RETURNING incident_id
"""
_TELL = """
INSERT INTO market.notices (incident_id, receiver, word, next_at)
SELECT incident_id, receiver, 'opened', %(now)s
FROM unnest(%(ids)s::bigint[]) AS incident_id, unnest(%(receivers)s::text[]) AS receiver
"""
_TELL_END = """
INSERT INTO market.notices (incident_id, receiver, word, next_at)
SELECT incident_id, receiver, 'over', %(now)s FROM market.notices
WHERE incident_id = ANY(%(ids)s::bigint[]) AND receiver = ANY(%(receivers)s::text[])
    AND word = 'opened' AND given_up_at IS NULL
"""
_FORGET = """
DELETE FROM market.notices WHERE receiver <> ALL(%(receivers)s::text[]) AND sent_at IS NULL
"""
_DUE = """
SELECT incident_id, n.word, i.thing, i.fault, i.remedy, i.opened_at, i.gone_at
FROM market.notices AS n JOIN market.incidents AS i USING (incident_id)
WHERE n.receiver = %(receiver)s AND n.sent_at IS NULL AND n.given_up_at IS NULL
    AND n.next_at <= %(now)s AND NOT (n.word = 'over' AND EXISTS (
        SELECT FROM market.notices AS o WHERE o.incident_id = n.incident_id
            AND o.receiver = n.receiver AND o.word = 'opened' AND o.sent_at IS NULL))
    AND NOT EXISTS (
        SELECT FROM market.notices AS o JOIN market.incidents AS before USING (incident_id)
        WHERE before.thing = i.thing AND o.incident_id < n.incident_id
            AND o.receiver = n.receiver AND o.sent_at IS NULL AND o.given_up_at IS NULL)
ORDER BY incident_id, n.word LIMIT %(most)s
"""
_WAITING = """
SELECT n.receiver, count(*) FILTER (WHERE n.given_up_at IS NULL),
    count(n.given_up_at), min(n.next_at) FILTER (WHERE n.given_up_at IS NULL),
    (array_agg(n.fault ORDER BY n.next_at DESC))[1]
FROM market.notices AS n JOIN market.incidents AS i USING (incident_id)
WHERE n.sent_at IS NULL AND n.fault IS NOT NULL
    AND (n.given_up_at IS NULL OR i.closed_at IS NULL)
GROUP BY 1 ORDER BY 1
"""

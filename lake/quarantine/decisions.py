"""The book of decisions: one for each quarantined event or held batch, and it stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from lake.clock import Clock, utc_from_us
from lake.errors import WrongUse

RELEASED, REFUSED = "released", "refused"
BATCH = "batch-"
"""Begins the name of a held batch; an event's is SHARD:SEQ."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about a thing, by whom, when and why.

    shard, frame: of a released event, the frame that holds it now; None while it is on its way.
    """

    thing: str
    decision: str
    reason: str
    decided_by: str
    decided_time: datetime
    shard: int | None = None
    frame: int | None = None

    def line(self) -> str:
        """Return it in words."""
        at = f"{self.decided_time:%Y-%m-%d %H:%M:%S} UTC"
        place = f", now frame {self.frame} of shard {self.shard}" if self.frame else ""
        return f"{self.thing}: {self.decision} by {self.decided_by} at {at}{place}: {self.reason}"


def decision_of(connection: psycopg.Connection, thing: str) -> Decision | None:
    """Return what was decided about a thing; None: nothing yet."""
    row = connection.execute(f"{_SELECT} WHERE thing = %s", (thing,)).fetchone()
    return None if row is None else Decision(*row)


def decisions(connection: psycopg.Connection) -> list[Decision]:
    """Return every decision, oldest first."""
    return [Decision(*row) for row in connection.execute(f"{_SELECT} ORDER BY decided_time, thing")]


def decide(
    connection: psycopg.Connection, thing: str, decision: str, reason: str, by: str, clock: Clock
) -> Decision:
    """Write a decision and commit it; the same one again is what stands.

    Raises WrongUse where the other one stands.
    """
    connection.execute(
        "INSERT INTO market.quarantine_decisions"
        " (thing, decision, reason, decided_by, decided_time)"
        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (thing, decision, reason, by, utc_from_us(clock.now_us())),
    )
    connection.commit()
    held = decision_of(connection, thing)
    assert held is not None
    if held.decision != decision:
        raise WrongUse(thing, f"is {held.decision} already", f"a decision stands: {held.line()}")
    return held


def note_place(connection: psycopg.Connection, thing: str, shard: int, frame: int) -> None:
    """Note which frame holds a released event now."""
    connection.execute(
        "UPDATE market.quarantine_decisions SET released_shard = %s, released_frame = %s"
        " WHERE thing = %s",
        (shard, frame, thing),
    )
    connection.commit()


def held_batches(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """Return the batches that were held back, oldest first, with what was decided about each."""
    cursor = connection.execute(
        "SELECT %s || batch_id AS thing, dataset, faults, rows_at_fault, held_time, d.decision"
        " FROM market.held_batches AS b"
        " LEFT JOIN market.quarantine_decisions AS d ON d.thing = %s || b.batch_id"
        " ORDER BY batch_id",
        (BATCH, BATCH),
    )
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


_SELECT = (
    "SELECT thing, decision, reason, decided_by, decided_time, released_shard, released_frame"
    " FROM market.quarantine_decisions"
)

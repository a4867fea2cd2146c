"""The book of lineage events in the hot tier: write events, read those that follow a number."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from lake.clock import utc_from_us
from lake.lineage.event import Told, document

DATASET = "lineage_events"


def note(connection: psycopg.Connection, namespace: str, events: Iterable[Told]) -> int | None:
    """Write events in one statement; return the number of the last, None where there is none.

    Raises what psycopg raises; the caller decides whether its work goes on without.
    """
    rows = [_row(each, namespace) for each in events]
    if not rows:
        return None
    found = connection.execute("SELECT market.note_lineage(%s)", (Jsonb(rows),)).fetchone()
    assert found is not None
    return int(found[0])


def events_after(
    connection: psycopg.Connection, after: int, *, events_max: int
) -> list[tuple[int, str]]:
    """Return number and document of the events after a number, in order."""
    return connection.execute(
        "SELECT event_no, event FROM market.lineage_events WHERE event_no > %s"
        " ORDER BY event_no LIMIT %s",
        (after, events_max),
    ).fetchall()


def last_no(connection: psycopg.Connection) -> int:
    """Return the number of the newest event; 0 where there is none."""
    row = connection.execute("SELECT coalesce(max(event_no), 0) FROM market.lineage_events")
    found = row.fetchone()
    return int(found[0]) if found else 0


def _row(told: Told, namespace: str) -> Mapping[str, Any]:
    event = document(told, namespace)
    snapshots = {
        each.name: each.snapshot_id for each in told.written if each.snapshot_id is not None
    }
    return {
        "event_time": utc_from_us(told.at_us).isoformat(),
        "event_type": told.type,
        "run_id": told.run_id,
        "job": told.job.name,
        "reads": json.dumps([each["name"] for each in event["inputs"]]),
        "writes": json.dumps([each["name"] for each in event["outputs"]]),
        "snapshots": json.dumps(snapshots),
        "event": json.dumps(event, separators=(",", ":")),
    }

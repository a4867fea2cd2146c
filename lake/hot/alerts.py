"""Alerts: what is wrong now and needs somebody, in the table market.alerts and in the log."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

import psycopg

from lake.clock import Clock, utc_from_us

LOG = logging.getLogger("ticklake.alerts")


@dataclass(frozen=True, slots=True)
class Alert:
    """An open alert: thing, fault and remedy, since when (UTC), and when it was last seen."""

    thing: str
    fault: str
    remedy: str
    raised_at: datetime
    seen_at: datetime


def raise_alert(
    connection: psycopg.Connection, clock: Clock, thing: str, fault: str, remedy: str
) -> None:
    """Open an alert, or note that it still stands; the log gets each fault once."""
    now = utc_from_us(clock.now_us())
    known = connection.execute(
        "UPDATE market.alerts SET seen_at = %s WHERE thing = %s AND fault = %s", (now, thing, fault)
    )
    if known.rowcount:
        return
    connection.execute(
        "INSERT INTO market.alerts (thing, fault, remedy, raised_at, seen_at)"
        " VALUES (%(thing)s, %(fault)s, %(remedy)s, %(now)s, %(now)s) ON CONFLICT (thing)"
        " DO UPDATE SET fault = excluded.fault, remedy = excluded.remedy,"
        " seen_at = excluded.seen_at",
        {"thing": thing, "fault": fault, "remedy": remedy, "now": now},
    )
    LOG.error("%s: %s: %s", thing, fault, remedy)


def clear_alert(connection: psycopg.Connection, thing: str) -> None:
    """Close an alert, if it is open."""
    if connection.execute("DELETE FROM market.alerts WHERE thing = %s", (thing,)).rowcount:
        LOG.info("%s: is over", thing)


def open_alerts(connection: psycopg.Connection) -> list[Alert]:
    """Return the open alerts, oldest first."""
    rows = connection.execute(
        "SELECT thing, fault, remedy, raised_at, seen_at FROM market.alerts"
        " ORDER BY raised_at, thing"
    )
    return [Alert(*row) for row in rows]

"""The book of runs: when `verify` ran, and what it found."""

from __future__ import annotations

import psycopg

from lake.clock import Clock, utc_from_us
from lake.hot.alerts import clear_alert, raise_alert
from lake.verify.report import Report

RUNS_KEPT_MAX = 1_000
ALERT = "verify"


def note_run(
    connection: psycopg.Connection, report: Report, clock: Clock, *, took_ms: int, full: bool
) -> None:
    """Write a run down; one that found faults is an alert until one finds none."""
    with connection.transaction():
        connection.execute(
            "INSERT INTO market.verify_runs VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (
                utc_from_us(clock.now_us()),
                took_ms,
                full,
                report.holds,
                report.events,
                report.rows_read,
                report.lost,
                report.duplicated,
                len(report.faults),
            ),
        )
        connection.execute(
            "DELETE FROM market.verify_runs WHERE ran_at < (SELECT min(ran_at) FROM ("
            " SELECT ran_at FROM market.verify_runs ORDER BY ran_at DESC LIMIT %s) AS kept)",
            (RUNS_KEPT_MAX,),
        )
        if report.holds:
            clear_alert(connection, ALERT)
        else:
            raise_alert(connection, clock, ALERT, report.damage(), "see where: ticklake verify")

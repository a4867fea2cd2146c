"""ticklake alerts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
import psycopg
from psycopg.rows import dict_row

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.settings import Settings
from lake.state import postgres_dsn, read_state

SHOWN_MAX = 50


@click.group()
def alerts() -> None:
    """What is wrong and who was told: webhook, e-mail, and always the log.

    TICKLAKE_ALERT_WEBHOOK_URL, or TICKLAKE_ALERT_SMTP_URL and TICKLAKE_ALERT_EMAIL_TO, at `ticklake
    up`; its flows' process tells of each incident once, and once of its end.
    """


@alerts.command("list")
@verb
def list_(settings: Settings) -> Answer:
    """List the newest incidents, and the receivers that could not be reached.

    Ends with 1 while an incident is open.
    """
    from lake.hot.incidents import waiting

    with psycopg.connect(postgres_dsn(settings.home)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        late = waiting(connection)
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(INCIDENTS, (SHOWN_MAX,)).fetchall()
    lines = [incident_line(row) for row in rows]
    lines += [f"{each.receiver}: {each.waiting} wait, {each.given_up} given up: {each.fault}"
              for each in late]  # fmt: skip
    document = {"incidents": rows, "receivers_not_reached": [asdict(each) for each in late]}
    is_open = any(row["closed_at"] is None for row in rows)
    return Answer(document, lines or ["no incident"], holds=not is_open)


@alerts.command()
@verb
def test(settings: Settings) -> Answer:
    """Send a test notice to every receiver now; ends with 1 where one can't be reached."""
    from flows.receivers import receivers_of
    from lake.clock import SystemClock, utc_from_us
    from lake.errors import TicklakeError
    from lake.hot.incidents import Notice

    now = utc_from_us(SystemClock().now_us())
    notice = Notice(0, "opened", "test", "nothing is wrong", "sent by `ticklake alerts test`", now,
                    None)  # fmt: skip
    faults: dict[str, str | None] = {}
    for receiver in receivers_of(settings, read_state(settings.home)):
        faults[receiver.name] = None
        try:
            receiver.send([notice])
        except TicklakeError as error:
            faults[receiver.name] = str(error)
    lines = [fault or f"{name}: sent" for name, fault in faults.items()]
    return Answer({"receivers": faults}, lines, holds=not any(faults.values()))


def incident_line(row: dict[str, Any]) -> str:
    """Return an incident in words, with who was told of it."""
    end = f"{row['closed_at']:%m-%d %H:%M}" if row["closed_at"] else "open"
    told = ", ".join(row["told"]) or "nobody yet"
    return (
        f"#{row['incident_id']}  {row['opened_at']:%Y-%m-%d %H:%M} to {end:11}  {row['thing']}:"
        f" {row['fault']}  (told: {told})"
    )


INCIDENTS = """
SELECT i.*, coalesce((SELECT array_agg(n.receiver ORDER BY n.receiver) FROM market.notices AS n
    WHERE n.incident_id = i.incident_id AND n.word = 'opened' AND n.sent_at IS NOT NULL), '{}')
    AS told
FROM market.incidents AS i ORDER BY closed_at IS NULL DESC, opened_at DESC LIMIT %s
"""

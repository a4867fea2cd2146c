"""ticklake quarantine."""

from __future__ import annotations

import base64
import getpass
from pathlib import Path
from typing import Any

import click
import psycopg

from infra.command.answer import Answer
from infra.command.verb import verb
from lake.errors import WrongUse
from lake.settings import Settings
from lake.state import postgres_dsn
from lake.warehouse import warehouse_of

EVENTS_MAX = 1_000
RAW_SHOWN_MAX = 200

REASON = click.option("--reason", default="", help="Why, for who asks later.")
BY = click.option("--by", default=None, metavar="NAME", help="Who decides; default: your login.")


@click.group()
def quarantine() -> None:
    """Events that a codec refused and batches that broke a rule; what to do with them."""


@quarantine.command("list")
@click.option("--all", "every", is_flag=True, help="Those decided about, too.")
@verb
def list_all(settings: Settings, every: bool) -> Answer:
    """List what is in quarantine and waits for a decision, newest first.

    An event is named SHARD:SEQ, a batch batch-N. At most 1,000 events are listed.
    """
    from lake.quarantine.decisions import decisions, held_batches
    from lake.views.client import Client

    dsn, warehouse = postgres_dsn(settings.home), warehouse_of(settings.home)
    with psycopg.connect(dsn) as connection:
        made = {each.thing: each for each in decisions(connection)}
        batches = [b for b in held_batches(connection) if every or b["decision"] is None]
    with Client(dsn, warehouse) as client:
        rows = client.arrow(
            "SELECT shard || ':' || seq AS thing, received_time, feed, reason, detail, place"
            f" FROM quarantine ORDER BY received_time DESC, seq DESC LIMIT {EVENTS_MAX + len(made)}"
        ).to_pylist()
    events = [row for row in rows if every or row["thing"] not in made][:EVENTS_MAX]
    for row in events:
        row["decision"] = made[row["thing"]].decision if row["thing"] in made else None
    lines = [
        f"{row['thing']:24} {row['received_time']:%Y-%m-%d %H:%M:%S} {row['feed']:10}"
        f" {row['decision'] or 'waits':8} {row['reason']}: {row['detail']}"
        for row in events
    ]
    lines += [
        f"{row['thing']:24} {row['held_time']:%Y-%m-%d %H:%M:%S} {row['dataset']:10}"
        f" {row['decision'] or 'waits':8} {row['faults']}"
        for row in batches
    ]
    return Answer({"events": events, "batches": batches}, lines or ["nothing waits in quarantine"])


@quarantine.command()
@click.argument("thing")
@verb
def show(settings: Settings, thing: str) -> Answer:
    """Show one event with its bytes, or one batch with its rows at fault, and the decision."""
    from lake.ingest.quarantine_to_journal import quarantined
    from lake.quarantine.decisions import BATCH, decision_of

    dsn, warehouse = postgres_dsn(settings.home), warehouse_of(settings.home)
    with psycopg.connect(dsn) as connection:
        made = decision_of(connection, thing)
        batch = batch_of(connection, thing) if thing.startswith(BATCH) else None
    if batch is not None:
        lines = [f"{batch['thing']}: {batch['dataset']}: {batch['faults']}"]
        lines += [f"  {row}" for row in batch["rows_at_fault"]]
        document = dict(batch)
    else:
        event = quarantined(dsn, warehouse, thing)
        raw = event.pop("raw")
        document = {**event, "raw_base64": base64.b64encode(raw).decode()}
        lines = [f"{name:14} {value}" for name, value in event.items()]
        lines.append(f"{'raw':14} {raw[:RAW_SHOWN_MAX]!r}")
    lines.append(made.line() if made else "no decision yet")
    return Answer(document, lines)


@quarantine.command()
@click.argument("thing")
@click.option(
    "--with",
    "correction",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the event put right, as the venue would send it.",
)
@REASON
@BY
@verb
def release(
    settings: Settings, thing: str, correction: Path | None, reason: str, by: str | None
) -> Answer:
    """Let an event or a batch in.

    An event is taken in again through the journal of its ticker, as a frame of its own: stored
    once, counted, and proven by `verify`; its row in quarantine stays. A batch is published by the
    next run of its flow, as it is. A release that was broken off goes on when it is called again.
    """
    from lake.clock import SystemClock
    from lake.ingest.quarantine_to_journal import release_event
    from lake.quarantine.decisions import BATCH, RELEASED, decide

    words = (reason, by or getpass.getuser())
    dsn, clock = postgres_dsn(settings.home), SystemClock()
    if thing.startswith(BATCH):
        with psycopg.connect(dsn) as connection:
            batch_of(connection, thing)
            made = decide(connection, thing, RELEASED, *words, clock)
        return Answer(document(made), [made.line(), "published by: ticklake bars build"])
    raw = correction.read_bytes().strip() if correction else None
    found = release_event(
        dsn, warehouse_of(settings.home), settings, thing, words, clock, correction=raw
    )
    rows = ", ".join(f"{count} rows of {name}" for name, count in found.rows.items())
    stored = rows or "no new row: it had come another way already"
    return Answer({**document(found.decision), "rows": found.rows}, [found.decision.line(), stored])


@quarantine.command()
@click.argument("thing")
@REASON
@BY
@verb
def refuse(settings: Settings, thing: str, reason: str, by: str | None) -> Answer:
    """Keep an event or the rows at fault of a batch out, for good.

    The event's bytes stay in quarantine. Of a batch, the rest is published by the next run.
    """
    from lake.clock import SystemClock
    from lake.ingest.quarantine_to_journal import quarantined
    from lake.quarantine.decisions import BATCH, REFUSED, decide

    dsn = postgres_dsn(settings.home)
    if not thing.startswith(BATCH):
        quarantined(dsn, warehouse_of(settings.home), thing)
    with psycopg.connect(dsn) as connection:
        if thing.startswith(BATCH):
            batch_of(connection, thing)
        words = (reason, by or getpass.getuser())
        made = decide(connection, thing, REFUSED, *words, SystemClock())
    return Answer(document(made), [made.line()])


def batch_of(connection: psycopg.Connection, thing: str) -> dict[str, Any]:
    """Return a held batch; raises WrongUse where there is none of that name."""
    from lake.quarantine.decisions import held_batches

    for batch in held_batches(connection):
        if batch["thing"] == thing:
            return batch
    raise WrongUse(thing, "is no batch in quarantine", "see: ticklake quarantine list")


def document(decision: Any) -> dict[str, Any]:
    """Return a decision as JSON has it."""
    return {name: getattr(decision, name) for name in decision.__slots__}

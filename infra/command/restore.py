"""ticklake restore."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial

import click

from infra.command.answer import Answer
from infra.command.profile import started
from infra.command.verb import verb
from infra.recovery.places import place_of
from infra.recovery.restore import Restored, restore_to
from infra.servers.backup_process import BackupProcess
from infra.servers.home import locked
from lake.clock import SystemClock
from lake.errors import WrongUse
from lake.settings import Settings


@click.command()
@click.option("--to", required=True, metavar="TIME", help="ISO 8601, as 2026-11-25T16:20:00Z.")
@verb
def restore(settings: Settings, to: str) -> Answer:
    """Bring hot tier, ledger and the lake's catalog back to a moment, together.

    Stops PostgreSQL, keeps its files aside as DIR/pg.before-TIME, and fences every writer of
    before. Then `up`, `verify` (which says what is missing since) and `ingest` (whose journal
    closes it).
    """
    home, clock = settings.home.resolve(), SystemClock()
    moment = parsed(to)
    with locked(home, clock):
        BackupProcess(home, clock).down()  # `up` starts it again
        made = partial(started(settings, home).postgres_of, home, clock)
        done = restore_to(home, moment, place_of(home), made, clock)
    return Answer(asdict(done), lines_of(done))


def parsed(text: str) -> datetime:
    """Read a moment; without a time zone it is UTC. Raises WrongUse."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise WrongUse(
            "--to", f"{text!r} is no time", "write it as 2026-11-25T16:20:00Z"
        ) from error
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def lines_of(done: Restored) -> list[str]:
    """Say what was done, and what comes next."""
    lines = [
        f"restored to {done.to.isoformat()}, from backup {done.backup.name};"
        f" incarnation {done.incarnation}",
        *(
            [f"not archived before: {done.not_archived}; it was read where it lay"]
            if done.not_archived
            else []
        ),
        *(
            f"shard {shard}: at frame {done.frames_after.get(shard, 0):,}, it was at {last:,}"
            for shard, last in done.frames_before.items()
        ),
        f"what was there is in {done.before}; remove it when you need it no more",
        "next: ticklake up, ticklake verify, ticklake ingest",
    ]
    return lines

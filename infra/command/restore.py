"""ticklake restore."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial

import click
import psycopg

from infra.command.answer import Answer
from infra.command.profile import started
from infra.command.verb import verb
from infra.recovery.places import place_of
from infra.recovery.restore import Restored, restore_to
from infra.servers.backup_process import BackupProcess
from infra.servers.home import locked
from lake.clock import SystemClock, utc_from_us
from lake.errors import Unavailable, WrongUse
from lake.ingest.loss_to_journal import accept_loss as accept_loss_of
from lake.roles import role_dsn
from lake.settings import Settings


@click.command()
@click.option("--to", metavar="TIME", help="ISO 8601, as 2026-11-25T16:20:00Z.")
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Record journalled frames that no segment holds any more as a gap.",
)
@verb
def restore(settings: Settings, to: str | None, accept_loss: bool) -> Answer:
    """Bring hot tier, ledger and the lake's catalog back to a moment, together.

    Stops PostgreSQL, keeps its files aside as DIR/pg.before-TIME, and fences every writer of
    before. Then `up`, `verify` (which says what is missing since) and `ingest` (whose journal
    closes it).

    With --accept-loss instead: where `verify` says that frames are lost and there is no copy of
    their segments, write the loss into the journal. The next `ingest` goes on, and feed_gaps has
    the loss as a gap of kind `loss`.
    """
    if (to is None) is not accept_loss:
        raise WrongUse("restore", "takes --to TIME or --accept-loss", "name one of them")
    return accepted(settings) if to is None else restored(settings, to)


def accepted(settings: Settings) -> Answer:
    """Write what the journals lost into them."""
    home = settings.home.resolve()
    try:
        with psycopg.connect(role_dsn(home, "operator"), autocommit=True) as connection:
            losses = accept_loss_of(connection, home / "journal", SystemClock())
    except psycopg.OperationalError as error:
        said = str(error).strip().splitlines()[0]
        raise Unavailable("hot tier", said, "start it: ticklake up") from error
    lines = [
        f"shard {loss.shard}: frames {loss.first} to {loss.last} are lost:"
        f" a gap of {', '.join(loss.feeds)} from {utc_from_us(loss.from_us).isoformat()}"
        f" to {utc_from_us(loss.to_us).isoformat()}"
        for loss in losses
    ]
    lines.append("next: ticklake ingest, which goes on" if losses else "no frames are lost")
    return Answer({"losses": [asdict(loss) for loss in losses]}, lines)


def restored(settings: Settings, to: str) -> Answer:
    """Bring the home's PostgreSQL back to a moment."""
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

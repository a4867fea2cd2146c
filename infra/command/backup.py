"""ticklake backup."""

from __future__ import annotations

from dataclasses import asdict

import click

from infra.command.answer import Answer
from infra.command.profile import started
from infra.command.verb import verb
from infra.recovery.backup import backup_now, ship_now
from infra.recovery.places import place_of
from infra.servers.home import locked
from lake.clock import SystemClock
from lake.roles import role_dsn
from lake.settings import Settings


@click.group()
def backup() -> None:
    """Backups of the database, the lake's catalog in it; TICKLAKE_BACKUP turns them on."""


@backup.command()
@verb
def now(settings: Settings) -> Answer:
    """Take a base backup; delete those that no restore within the recovery window needs.

    A process that `up` starts does it once a day. What is written between two of them is archived
    by the server.
    """
    home, clock = settings.home.resolve(), SystemClock()
    place = place_of(home)
    with locked(home, clock):
        server = started(settings, home).postgres_of(home, clock)
        taken = backup_now(role_dsn(home, "operator"), place, server, clock)
    lines = [f"backed up as {taken.backup.name}"]
    lines += [f"deleted {each.name}: no restore needs it" for each in taken.deleted]
    return Answer(asdict(taken), lines)


@backup.command()
@verb
def ship(settings: Settings) -> Answer:
    """Bring the archived log to the bucket, as a process that `up` starts does every minute.

    A folder needs no shipping.
    """
    home = settings.home.resolve()
    last = ship_now(role_dsn(home, "operator"), place_of(home))
    return Answer({"last": last}, [f"shipped up to {last}" if last else "nothing new"])


@backup.command("list")
@verb
def list_(settings: Settings) -> Answer:
    """List the base backups: a restore reaches any moment after the first has ended."""
    found = place_of(settings.home.resolve()).backups()
    lines = [
        f"{each.name}  ended {each.ended_at.isoformat(timespec='seconds')}"
        f"  took {(each.ended_at - each.began_at).total_seconds():.1f} s"
        for each in found
    ]
    return Answer({"backups": [asdict(each) for each in found]}, lines or ["none yet"])

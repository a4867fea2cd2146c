"""Bring a home's PostgreSQL back to a moment: hot tier, ledger and the lake's catalog at once.

One database holds all of them, so they come back to one transaction. What the lake's catalog then
names is still there, and so are the journal's frames since (nothing of them is deleted inside the
recovery window): the writer goes on from the frame that was last at that moment. Before anybody may
connect, a new incarnation begins, which fences every writer of before.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from infra.recovery.backup import archive_now
from infra.recovery.place import Backup, Place, name_of
from infra.servers.postgres_server import PostgresServer, admin_dsn
from lake.clock import Clock, utc_from_us
from lake.errors import BadInput, TicklakeError
from lake.hot.batches import last_frames
from lake.hot.recovery import begin_incarnation
from lake.journal.reader import JournalReader

RECOVER_S_MAX = 4 * 3_600.0
"""Reading the log again takes about as long as a tenth of what it took to write."""

MakeServer = Callable[[Mapping[str, str]], PostgresServer]
"""Makes the home's server with settings that go before its own."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: the moment (UTC), the backup it began with, the new incarnation, shard ->
    last frame before and after; where the files of before lie; what kept the running server from
    archiving all that it held ("": nothing did).
    """

    to: datetime
    backup: Backup
    incarnation: int
    frames_before: Mapping[int, int]
    frames_after: Mapping[int, int]
    before: Path
    not_archived: str = ""


def restore_to(
    home: Path, to: datetime, place: Place, make_server: MakeServer, clock: Clock
) -> Restored:
    """Restore a home's PostgreSQL and leave it stopped; the caller holds the home's lock.

    to: UTC, exclusive of what was committed later. What was there is kept aside, and put back when
    the restore fails. Raises BadInput for a moment that no backup reaches; Unavailable, Damaged.
    """
    backup = base_for(place, to, clock)
    server = make_server({})
    said, not_archived = _say_goodbye(server, clock)
    frames_before = said or acknowledged(home / "journal")
    server.down()
    data = server.data
    before = aside(data, utc_from_us(clock.now_us()))
    if data.exists():
        data.rename(before)
    try:
        place.fetch(backup, server)
        number, frames_after = _recover(data, to, place, before, make_server, frames_before)
    except BaseException:
        make_server({}).down()
        if before.exists():
            shutil.rmtree(data, ignore_errors=True)
            before.rename(data)
        raise
    return Restored(to, backup, number, frames_before, frames_after, before, not_archived)


def aside(data: Path, now: datetime) -> Path:
    """Return a free name beside a data folder; a second restore within a second gets its own."""
    named = data.with_name(f"{data.name}.before-{name_of(now)}")
    free = (named.with_name(f"{named.name}-{n}") for n in itertools.count(2))
    return next(path for path in itertools.chain((named,), free) if not path.exists())


def base_for(place: Place, to: datetime, clock: Clock) -> Backup:
    """Return the backup that a restore begins with; BadInput for a moment that none reaches."""
    there = place.backups()
    ended = [each for each in there if each.ended_at <= to]
    if to > utc_from_us(clock.now_us()):
        raise BadInput("--to", f"{to.isoformat()} is not over yet", "name an earlier moment")
    if not ended:
        oldest = (
            f"the oldest ended at {there[0].ended_at.isoformat()}" if there else "there is none"
        )
        raise BadInput(
            "--to", f"no base backup had ended by then ({oldest})", "ticklake backup list"
        )
    return ended[-1]


def _say_goodbye(server: PostgresServer, clock: Clock) -> tuple[Mapping[int, int], str]:
    """Archive what a running server still holds; return its shards' last frames, and the fault.

    A dead one says nothing. What is not archived is read where it lies: a fault here stops no
    restore, but it is told, since what archives is then not well.
    """
    frames: Mapping[int, int] = {}
    postmaster = server.running()
    if postmaster is None:
        return frames, ""
    try:
        with psycopg.connect(admin_dsn(postmaster), autocommit=True) as connection:
            frames = last_frames(connection)
            archive_now(connection, clock)
    except (psycopg.OperationalError, TicklakeError) as error:
        return frames, " ".join(str(error).split())
    return frames, ""


def reaching(to: datetime) -> dict[str, str]:
    """Return the settings of a server that reads its log up to a moment, lets nobody in before, and
    goes on from there.
    """
    return {
        "hot_standby": "off",
        "recovery_target_time": to.isoformat(),
        "recovery_target_action": "promote",
    }


def acknowledged(journal: Path) -> dict[int, int]:
    """Return shard -> the journal's last durable frame, where the server can't be asked."""
    found = {}
    for folder in journal.glob("shard-*"):
        shard = int(folder.name.removeprefix("shard-"))
        reader = JournalReader(folder, shard)
        found[shard] = reader.durable()
        reader.close()
    return found


def _recover(
    data: Path,
    to: datetime,
    place: Place,
    before: Path,
    make_server: MakeServer,
    was_written: Mapping[int, int],
) -> tuple[int, Mapping[int, int]]:
    """Read the log again up to the moment, with the doors closed; begin a new incarnation."""
    (data / "recovery.signal").touch()
    server = make_server(
        {
            **place.settings(),
            "listen_addresses": "",
            "restore_command": place.restore_command(before / "pg_wal"),
            **reaching(to),
        }
    )
    postmaster = server.recover(RECOVER_S_MAX)
    with psycopg.connect(admin_dsn(postmaster), autocommit=True) as connection:
        number = begin_incarnation(connection, restored_to=to, was_written=was_written)
        frames = last_frames(connection)
    server.down()
    return number, frames

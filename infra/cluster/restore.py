"""Lay a container's database out as of a moment: `python -m infra.cluster.restore`.

The server is stopped. Its files are put aside in its volume, the last base backup before RESTORE_TO
and the log since are fetched, and what the server's own image must do with them is written beside
them: what to recover to, and the statement that fences every writer of before, which
infra/config/postgres/recover.sh says before anybody may connect.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from infra.cluster.remote import RemotePostgres, place_from
from infra.command.restore import parsed
from infra.recovery.bucket_place import BucketPlace
from infra.recovery.folder_place import archived_to
from infra.recovery.restore import acknowledged, aside, base_for, reaching
from infra.servers.postgres_files import quoted
from lake.clock import Clock, SystemClock, utc_from_us
from lake.errors import TicklakeError, WrongUse
from lake.hot.recovery import beginning

JOURNAL = Path("/var/lib/ticklake/journal")
STATEMENT = "incarnation.sql"
CONFIGURATION = "postgresql.auto.conf"
ANSWER_S_MAX = 3.0


def lay_out(
    server: RemotePostgres, place: BucketPlace, to: datetime, clock: Clock, journal: Path = JOURNAL
) -> list[str]:
    """Put the server's files aside and lay those of the moment in their place; return what to say.

    What was there is put back where that fails. Raises BadInput for a moment that no backup
    reaches, Unavailable, Damaged.
    """
    backup = base_for(place, to, clock)
    frames = acknowledged(journal)
    before = aside(server.data, utc_from_us(clock.now_us()))
    if server.data.exists():
        server.data.rename(before)
    try:
        place.fetch(backup, server)
        plan = {
            "restore_command": place.restore_command(before / "pg_wal"),
            **archived_to(place.spool),  # the new timeline's first segments too
        }
        write_plan(server.data, to, frames, plan)
        for name in ("recovery.signal", STATEMENT, CONFIGURATION):
            server.account().own(server.data / name)
    except BaseException:
        shutil.rmtree(server.data, ignore_errors=True)
        if before.exists():
            before.rename(server.data)
        raise
    return [
        f"laid out as of {to.isoformat()}, from backup {backup.name}; recover.sh goes on",
        *(f"shard {shard}: the journal is at frame {last:,}" for shard, last in frames.items()),
        f"what was there is in {before}; remove it when you need it no more",
    ]


def write_plan(
    data: Path, to: datetime, frames: Mapping[int, int], plan: Mapping[str, str]
) -> None:
    """Write what the server is to recover to, and what is said to it once it has.

    plan: its settings by which it finds its log, and keeps it.
    """
    settings = {**plan, **reaching(to)}
    own = data / CONFIGURATION
    shutil.copyfile(own, own.with_suffix(".own"))
    lines = [f"{name} = '{quoted(value)}'\n" for name, value in settings.items()]
    with own.open("a") as opened:
        opened.writelines(lines)
    said = beginning(restored_to=to, was_written=frames).as_string(None)
    (data / STATEMENT).write_text(f"{said};\n")
    (data / "recovery.signal").touch()


def require_stopped(host: str, port: int) -> None:
    """Raise WrongUse where a server answers there."""
    try:
        socket.create_connection((host, port), timeout=ANSWER_S_MAX).close()
    except OSError:
        return
    raise WrongUse("restore", f"a server answers at {host}:{port}", "stop it: docker compose stop")


def lay_out_from_env(environ: Mapping[str, str]) -> None:
    """Lay out as the environment says."""
    if not environ.get("RESTORE_TO"):
        raise WrongUse("RESTORE_TO", "is not set", "write it as 2026-11-25T16:20:00Z")
    place = place_from(environ, environ.get("TICKLAKE_BACKUP", ""))
    require_stopped(environ["PGHOST"], int(environ.get("PGPORT") or 5432))
    server = RemotePostgres(environ)
    for line in lay_out(server, place, parsed(environ["RESTORE_TO"]), SystemClock()):
        print(line)


if __name__ == "__main__":
    try:
        lay_out_from_env(os.environ)
    except TicklakeError as error:
        sys.exit(f"restore: {error}")

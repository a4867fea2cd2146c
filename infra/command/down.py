"""ticklake down."""

from __future__ import annotations

import click

from infra.command.answer import Answer
from infra.command.profile import started
from infra.command.verb import verb
from infra.servers.backup_process import BackupProcess
from infra.servers.flow_servers import FlowServers
from lake.clock import SystemClock
from lake.ingest.report import forget_reports
from lake.settings import Settings


@click.command()
@verb
def down(settings: Settings) -> Answer:
    """Stop the servers; all data stays. What dead ingests said last is forgotten."""
    home = settings.home.resolve()
    flows = FlowServers(home, SystemClock()).down() if home.is_dir() else ()
    if home.is_dir() and BackupProcess(home, SystemClock()).down():
        flows = (*flows, "backups")
    stopped = (*flows, *started(settings, settings.home).down(settings.home))
    forget_reports(settings.home)
    lines = [f"stopped {', '.join(stopped)}" if stopped else "nothing was running"]
    return Answer({"home": settings.home.resolve(), "stopped": stopped}, lines)

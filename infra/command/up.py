"""ticklake up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from flows.lineage_to_endpoint import Endpoint
from flows.receivers import receivers_of, told
from infra.command.answer import Answer
from infra.command.profile import of_role, to_start
from infra.command.server_lines import server_lines
from infra.command.verb import verb
from infra.recovery.places import wanted
from infra.servers.backup_process import BackupProcess
from infra.servers.flow_servers import FlowServers, flow_line
from infra.servers.home import locked
from lake.clock import SystemClock
from lake.hot.look import look
from lake.lineage.destination import destination
from lake.settings import Settings
from lake.state import read_state, write_state

PUBLISH_S_MAX = 300.0
"""Another `up` may be making the views for the first time."""


@click.command()
@click.option("--listen", metavar="ADDRESS", help="Where servers listen (or TICKLAKE_LISTEN).")
@click.option("--tls", metavar="made|FOLDER|off", help="Their certificates (or TICKLAKE_TLS).")
@click.option(
    "--views/--no-views",
    default=True,
    show_default=True,
    help="Publish Trino's views; without, Trino need not answer yet.",
)
@click.option(
    "--role",
    metavar="ROLE",
    help="With --profile given: a home of this role alone; another `up` prepares the servers.",
)
@verb
def up(
    settings: Settings, listen: str | None, tls: str | None, views: bool, role: str | None
) -> Answer:
    """Start the servers, and prepare database and folders; in the stack, tables and views too.

    Safe to call again, and after any crash. --listen 0.0.0.0 --tls made opens the stack to other
    machines, by TLS and passwords only; clients get the home's tls/ca.crt. Prefect and MLflow ask
    for a login then, too: ticklake, and prefect_page or mlflow_page of run/passwords.json.
    """
    if role:
        return up_as(settings, role)
    settings = replace(settings, listen=listen or settings.listen, tls=tls or settings.tls)
    from infra.servers.given import Given

    profile = to_start(settings, settings.home)
    report = profile.up(
        settings.home,
        chunk_hours=settings.hot_chunk_hours,
        pinned=settings.pinned,
        backup=wanted(settings, given=isinstance(profile, Given)),
        door=(settings.listen, settings.tls),
    )
    if views and "trino" in report.state:
        from infra.servers.versions import require
        from lake.releases.trino_release import publish_releases
        from lake.trino_session import connect_trino
        from lake.views.publish import publish

        with connect_trino(settings.home) as session:
            require("Trino", session.version())

        with locked(settings.home.resolve(), SystemClock(), PUBLISH_S_MAX):
            publish(settings.home)
            publish_releases(settings.home)
    BackupProcess(settings.home.resolve(), SystemClock()).begin(report.state)
    flows = None
    if settings.flows == "on":
        flows = begin_flows(settings)
    else:
        leave_flows(settings)
    servers = profile.status(settings.home)
    warehouse = report.state.get("warehouse", {}).get("location") or settings.warehouse.resolve()
    hot = look(report.state["postgres"]["dsn"])
    words = {name: "started" if name in report.started else "was running" for name in servers}
    return Answer(
        {
            "home": settings.home.resolve(),
            "started": report.started,
            "servers": servers,
            "hot": hot.document(),
            "warehouse": warehouse,
            "flows": flows,
        },
        [
            *server_lines(servers, words),
            *hot.lines(),
            f"warehouse   {warehouse}",
            *([flow_line(flows)] if flows else []),
        ],
    )


def up_as(settings: Settings, role: str) -> Answer:
    """Wait for servers that were prepared, and note where they are, as one role reaches them."""
    profile = of_role(settings, role)
    report = profile.up(settings.home)
    servers = profile.status(settings.home)
    home, words = settings.home.resolve(), dict.fromkeys(servers, "was running")
    said = {"home": home, "started": report.started, "servers": servers, "role": role}
    return Answer(said, server_lines(servers, words))


def leave_flows(settings: Settings) -> None:
    """Start no flows; where none run, nobody is to miss them."""
    home, clock = settings.home.resolve(), SystemClock()
    with locked(home, clock):
        state = read_state(home)
        if "flows" in state and FlowServers(home, clock).forgotten():
            del state["flows"]
            write_state(home, state)


def begin_flows(settings: Settings) -> dict[str, Any]:
    """Send Prefect and the flows on their way; return how far they are."""
    home, clock = settings.home.resolve(), SystemClock()
    with locked(home, clock):
        servers = FlowServers(home, clock)
        state = read_state(home)
        state["prefect"] = servers.begin(state)
        state["flows"] = {"here": True}
        state["settings"] = settings.variables()
        receivers_of(settings, state)  # an address that can't be is said now
        state["alerts"] = told(settings, state)
        lineage = destination(settings, state)
        if lineage.url:
            Endpoint(lineage.url)  # likewise
        state["lineage"] = lineage.document()
        write_state(home, state)
        return servers.status(state)

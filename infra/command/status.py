"""ticklake status."""

from __future__ import annotations

import click

from infra.command.answer import Answer
from infra.command.server_lines import server_lines
from infra.command.verb import verb
from infra.servers import embedded
from lake.settings import Settings


@click.command()
@verb
def status(settings: Settings) -> Answer:
    """Say what runs, and where; end with 1 when a server is down."""
    servers = embedded.status(settings.home)
    words = {name: "running" if each["running"] else "down" for name, each in servers.items()}
    return Answer(
        {"home": settings.home.resolve(), "servers": servers},
        server_lines(servers, words),
        holds=all(each["running"] for each in servers.values()),
    )

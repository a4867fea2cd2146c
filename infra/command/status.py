"""ticklake status."""

from __future__ import annotations

import click

from infra.command.answer import Answer
from infra.command.server_lines import server_lines
from infra.command.verb import verb
from infra.servers import embedded
from lake.hot.look import look
from lake.settings import Settings
from lake.state import postgres_dsn


@click.command()
@verb
def status(settings: Settings) -> Answer:
    """Say what runs, and where, and what needs somebody; end with 1 when a server is down."""
    servers = embedded.status(settings.home)
    hot = look(postgres_dsn(settings.home)) if servers["postgres"]["running"] else None
    words = {name: "running" if each["running"] else "down" for name, each in servers.items()}
    return Answer(
        {
            "home": settings.home.resolve(),
            "servers": servers,
            "hot": hot.document() if hot else None,
        },
        [*server_lines(servers, words), *(hot.lines() if hot else ())],
        holds=all(each["running"] for each in servers.values()),
    )

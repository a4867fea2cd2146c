"""ticklake down."""

from __future__ import annotations

import click

from infra.command.answer import Answer
from infra.command.verb import verb
from infra.servers import embedded
from lake.settings import Settings


@click.command()
@verb
def down(settings: Settings) -> Answer:
    """Stop the servers; all data stays."""
    stopped = embedded.down(settings.home)
    lines = [f"stopped {' and '.join(stopped)}" if stopped else "nothing was running"]
    return Answer({"home": settings.home.resolve(), "stopped": stopped}, lines)

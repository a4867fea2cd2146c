"""ticklake status."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from infra.command.answer import Answer
from infra.command.profile import started
from infra.command.server_lines import server_lines
from infra.command.verb import verb
from infra.watch.probes import Health
from infra.watch.status import document, lines, see
from infra.watch.wrong import wrong
from lake.clock import SystemClock
from lake.settings import Settings


@click.command()
@verb
def status(settings: Settings) -> Answer:
    """Say what runs, where, how far behind it is, and what is wrong; end with 1 then.

    Every fault comes with its remedy. Answers within seconds, also while servers hang.
    """
    servers = started(settings, settings.home).status(settings.home)
    seen = see(settings, SystemClock())
    down = {
        name: Health(False, 0.0, "down") for name, each in servers.items() if not each["running"]
    }
    seen = replace(seen, servers={**seen.servers, **down})
    words = {name: word(each, seen.servers.get(name)) for name, each in servers.items()}
    found = wrong(seen)
    return Answer(
        {"home": settings.home.resolve(), "servers": servers, **document(seen, found)},
        [*server_lines(servers, words), *lines(seen, found)],
        holds=not found,
    )


def word(server: dict[str, Any], health: Health | None) -> str:
    """Return a server's state in a word."""
    if not server["running"]:
        return "down"
    return str(server["health"]) if health is None or health.up else "HANGS"

"""ticklake status."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import click

from infra.command.answer import Answer
from infra.command.profile import started
from infra.command.server_lines import server_lines
from infra.command.verb import verb
from infra.servers.flow_servers import FlowServers, flow_line, look_at_flows
from infra.servers.report import in_state
from infra.watch.probes import Health
from infra.watch.status import document, lines, see
from infra.watch.wrong import wrong
from lake.clock import SystemClock
from lake.settings import Settings
from lake.state import read_state


@click.command()
@verb
def status(settings: Settings) -> Answer:
    """Say what runs, where, how far behind it is, and what is wrong; end with 1 then.

    Every fault comes with its remedy. Answers within seconds, also while servers hang.
    """
    profile = started(settings, settings.home)
    with ThreadPoolExecutor(1) as pool:  # both wait for servers that hang
        asked = pool.submit(profile.status, settings.home)
        seen = see(settings, SystemClock())
        servers = asked.result()
    healths = {name: health(name, each, seen.servers) for name, each in servers.items()}
    words = {name: word(each, healths[name]) for name, each in servers.items()}
    clock, home = SystemClock(), settings.home.resolve()
    seen = replace(seen, servers=healths, flows=look_at_flows(home, clock))
    found = wrong(seen)
    state = read_state(settings.home)
    flows = None
    if "prefect" in state:
        flows = FlowServers(home, clock).status(state)
    return Answer(
        {
            "home": settings.home.resolve(),
            "servers": servers,
            "flows": flows,
            **document(seen, found),
        },
        [
            *server_lines(servers, words),
            *([flow_line(flows)] if flows else []),
            *lines(seen, found),
        ],
        holds=not found,
    )


def health(name: str, said: Mapping[str, Any], probed: Mapping[str, Health]) -> Health:
    """Return a server's health: what its process says, and whether it answered just now."""
    known = probed.get(in_state(name))
    if known is None or (known.up and not said["running"]):
        return Health(said["running"], 0.0, said["health"])
    return known


def word(said: Mapping[str, Any], found: Health) -> str:
    """Return a server's state in words."""
    return "does not answer" if said["running"] and not found.up else str(said["health"])

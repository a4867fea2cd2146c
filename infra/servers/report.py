"""What a profile says of its servers, and what all servers can say."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from infra.servers.door import Door
from infra.servers.process import Process, memory_bytes
from lake.clock import utc_from_us
from lake.errors import BadInput

STATE_NAMES = {"redis": "valkey", "minio": "s3"}
"""Servers that the state names by what they are for, and not by what they are."""


def in_state(server: str) -> str:
    """Return the name that the state (lake.state), metrics and probes have for a server."""
    return STATE_NAMES.get(server, server)


class Ready(Protocol):
    """A server that answers."""

    @property
    def port(self) -> int:
        """Return its port."""


class Server(Protocol):
    """One server of a home, whatever it is."""

    log: Path
    door: Door

    def process(self) -> Process | None:
        """Return its first process; None while it is down."""

    def group(self) -> list[Process]:
        """Return all its processes."""

    def running(self) -> Ready | None:
        """Return it when it answers."""

    def version(self) -> str:
        """Return its program's version."""

    def down(self) -> bool:
        """Stop it; False when it wasn't running."""


@dataclass(frozen=True)
class Report:
    """What `up` did: the state now, and the servers that it had to start."""

    state: dict[str, Any]
    started: tuple[str, ...]


def statuses(home: Path, servers: Mapping[str, Server]) -> dict[str, dict[str, Any]]:
    """Return the status of each server, asked at once: one that hangs costs its time only once.

    Raises BadInput for a home that is no folder, or not ours.
    """
    try:
        with ThreadPoolExecutor(len(servers)) as pool:
            return dict(zip(servers, pool.map(described, servers.values()), strict=True))
    except (NotADirectoryError, PermissionError) as error:
        raise BadInput(f"home {home}", str(error.strerror), "choose another with --home") from error


def described(server: Server) -> dict[str, Any]:
    """Return the status of one server: running means that it answers."""
    process, ready = server.process(), server.running()
    running = process is not None and ready is not None
    return {
        "running": running,
        "health": "answers" if running else "does not answer" if process else "down",
        "pid": process.pid if process else None,
        "address": f"{server.door.listen}:{ready.port}" if ready else None,
        "since": utc_from_us(process.since_us).isoformat(timespec="seconds") if process else None,
        "memory_bytes": sum(memory_bytes(each.pid) for each in server.group()),
        "version": server.version(),
        "log": str(server.log),
    }

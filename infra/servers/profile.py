"""What a profile is: servers that are started, stopped and looked at together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from infra.servers.postgres_server import PostgresServer
from infra.servers.report import Report
from lake.clock import Clock
from lake.hot.arrange import CHUNK_HOURS

FOLDERS = {"embedded": "pg", "stack": "timescaledb", "given": "given"}
"""The folder by which a home shows what profile it is of."""


class Profile(Protocol):
    """The servers of a profile; see infra.servers.embedded and infra.native.stack."""

    def up(
        self,
        home: Path,
        clock: Clock | None = None,
        *,
        chunk_hours: int = CHUNK_HOURS,
        pinned: Sequence[str] = (),
        backup: Mapping[str, Any] | None = None,
        door: tuple[str, str] = ("", ""),
    ) -> Report:
        """Start what is down. door: where it listens and with what TLS, as set; "" as before."""

    def postgres_of(
        self, home: Path, clock: Clock, more: Mapping[str, str] | None = None
    ) -> PostgresServer:
        """Return a home's PostgreSQL, with settings that go before its own."""

    def down(self, home: Path, clock: Clock | None = None) -> tuple[str, ...]:
        """Stop them; return those that ran."""

    def status(self, home: Path, clock: Clock | None = None) -> dict[str, dict[str, Any]]:
        """Return the status of each."""


def profile_of(home: Path) -> str | None:
    """Return the name of the profile that a home is of; None for a new one."""
    return next((name for name, folder in FOLDERS.items() if (home / folder).is_dir()), None)

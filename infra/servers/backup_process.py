"""The process that takes backups on time; `up` starts it where they are on, waiting for nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from infra.servers.process import memory_bytes
from infra.servers.web_server import Kind, Plan, WebServer
from lake.clock import Clock

MODULE = "infra.resident.backups"
KIND = Kind("backups", MODULE, "", b"", lambda: version("ticklake"))


class BackupProcess:
    """That of one home (absolute path)."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._home = home
        self._process = WebServer(home, clock, KIND)

    def begin(self, state: Mapping[str, Any]) -> bool:
        """See that it runs where backups are on, and not where they are off; tell which."""
        if not state.get("backup"):
            self._process.down()
            return False
        environment = {"TICKLAKE_HOME": str(self._home)}
        words = (sys.executable, "-m", MODULE, str(self._home))
        self._process.begin(0, lambda _: Plan(words, environment))
        return True

    def down(self) -> bool:
        """Stop it; False when it wasn't running."""
        return self._process.down()

    def status(self) -> dict[str, Any]:
        """Return whether it runs, and its log."""
        runs = self._process.process()
        return {
            "running": runs is not None,
            "pid": runs.pid if runs else None,
            "memory_bytes": sum(memory_bytes(each.pid) for each in self._process.group()),
            "log": str(self._process.log),
        }

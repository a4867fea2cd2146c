"""What every profile keeps in a home: its folders, a lock, the servers' passwords."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.servers.lock import held
from lake.clock import Clock
from lake.errors import BadInput, Unavailable
from lake.state import write_closed

LOCK_S_MAX = 60.0
FOLDERS = ("run", "log", "journal", "warehouse")


def prepared(home: Path) -> Path:
    """Make the home's folders and return its absolute path; BadInput when that is not allowed."""
    home = home.resolve()
    try:
        for name in FOLDERS:
            (home / name).mkdir(parents=True, exist_ok=True)
        (home / "run").chmod(0o700)
    except OSError as error:
        raise BadInput(
            f"home {home}", str(error.strerror or error), "choose another with --home"
        ) from error
    return home


@contextmanager
def locked(home: Path, clock: Clock, seconds_max: float = LOCK_S_MAX) -> Iterator[None]:
    """Hold the home's lock: starts and stops happen one after the other."""
    (home / "run").mkdir(exist_ok=True)
    refused = Unavailable(f"home {home}", "another up or down is at work", "wait for it")
    with held(home / "run" / "servers.lock", clock, seconds_max, refused):
        yield


def read_passwords(home: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the passwords of these names; what is missing is made, for its owner's eyes."""
    path = home / "run" / "passwords.json"
    try:
        stored = json.loads(path.read_text())
        kept = {str(name): str(stored[name]) for name in stored}
    except (FileNotFoundError, json.JSONDecodeError, TypeError, AttributeError):
        kept = {}
    missing = [name for name in names if name not in kept]
    if missing:
        kept |= {name: secrets.token_hex(16) for name in missing}
        write_closed(path, json.dumps(kept))
    return {name: kept[name] for name in names}


def port_of(state: dict[str, Any], server: str) -> int | None:
    """Return the port of last time."""
    port = state.get(server, {}).get("port")
    return port if isinstance(port, int) else None

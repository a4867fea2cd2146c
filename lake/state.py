"""What runs where: the file that `ticklake up` leaves in the home.

home/run/state.json: {"postgres": {"dsn", "socket_dir", "port", "pid"}, "valkey": {"url", "port",
"pid"}, "roles": {name: {"dsn"}}}. It holds passwords and is readable by its owner only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from lake.errors import BadInput, Unavailable

RUN_UP = "start the servers with: ticklake up"
NO_SPACE = "No space left on device"
MAKE_ROOM = "make room on its disk: what waits goes on by itself"

OTHER_PASSWORD = "its password is another: see run/state.json"
REFUSALS = (
    "password authentication failed",
    "no password supplied",
    "invalid username-password pair",
    "WRONGPASS",
    "NOAUTH",
    "Authentication required",
)
"""What PostgreSQL and Redis say to whom they don't let in, and their clients after them."""


def state_path(home: Path) -> Path:
    """Return where the state of a home lies."""
    return home / "run" / "state.json"


def read_state(home: Path) -> dict[str, Any]:
    """Return the state by server; empty when there is none or it isn't whole.

    Raises BadInput for a home that is no folder, or not ours to read.
    """
    try:
        state = json.loads(state_path(home).read_bytes())
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    except (NotADirectoryError, PermissionError) as error:
        raise BadInput(f"home {home}", str(error.strerror), "choose another with --home") from error
    whole = isinstance(state, dict) and all(isinstance(each, dict) for each in state.values())
    return state if whole else {}


def write_state(home: Path, state: Mapping[str, Any]) -> None:
    """Replace the state at once."""
    path = state_path(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_closed(path, json.dumps(state, indent=2))


def write_closed(path: Path, text: str) -> None:
    """Replace a file, whole, by one that its owner alone reads."""
    new = path.with_suffix(f".{os.getpid()}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def postgres_dsn(home: Path) -> str:
    """Return the libpq URI of the home's PostgreSQL over loopback; Unavailable before `up`."""
    return address(home, "postgres", "dsn")


def valkey_url(home: Path) -> str:
    """Return the redis:// URL of the home's Valkey; Unavailable before `up`."""
    return address(home, "valkey", "url")


def address(home: Path, server: str, key: str) -> str:
    """Return one address from the state; Unavailable when it is not there."""
    found = read_state(home).get(server, {}).get(key)
    if not isinstance(found, str):
        raise Unavailable(f"{server} of {home}", "not started", RUN_UP)
    return found


def remedy(said: str, otherwise: str) -> str:
    """Return what to do about a server that said this; otherwise: where it said nothing known."""
    if NO_SPACE in said:
        return MAKE_ROOM
    return OTHER_PASSWORD if any(words in said for words in REFUSALS) else otherwise


def with_user(dsn: str, user: str, password: str) -> str:
    """Return a libpq URI with another user and password."""
    parts = urlsplit(dsn)
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{quote(user)}:{quote(password, safe='')}@{place}").geturl()

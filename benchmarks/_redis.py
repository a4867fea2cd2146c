"""A Valkey of the wheel's for a benchmark, in a home that goes with it."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.servers.valkey_server import ValkeyServer, url
from lake.clock import SystemClock


@contextmanager
def redis_server() -> Iterator[tuple[str, Path]]:
    """Run it; give its address, with its password, and the home."""
    password = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="ticklake-benchmark-") as folder:
        home = Path(folder).resolve()
        (home / "log").mkdir()
        server = ValkeyServer(home, SystemClock())
        try:
            yield url(server.up(None, password), password), home
        finally:
            server.down()

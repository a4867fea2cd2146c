"""A Valkey of the wheel's for a benchmark, in a home that goes with it; what is measured there."""

from __future__ import annotations

import argparse
import json
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def measure_on_redis(
    parser: argparse.ArgumentParser, measured: Callable[[str, argparse.Namespace], dict[str, Any]]
) -> None:
    """Measure at the address of a Valkey, and print; adds the options that all have.

    options.home: its folder, for what else has files.
    """
    parser.add_argument("--tickers", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with redis_server() as (address, options.home):
        found = measured(address, options)
    show(found, options.json)


def show(found: dict[str, Any], as_json: bool) -> None:
    """Print figures, a line each or as one JSON document."""
    if as_json:
        print(json.dumps(found))
        return
    width = max(map(len, found))
    for name, value in found.items():
        print(f"{name:{width}} {value}")

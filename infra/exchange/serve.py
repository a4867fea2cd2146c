"""Run the simulated exchange as a process."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from infra.exchange.exchange import Exchange
from infra.exchange.options import ExchangeOptions
from lake.errors import BadInput, Unavailable


def run(
    options: ExchangeOptions,
    *,
    home: Path | None = None,
    ready: Callable[[str], None] | None = None,
) -> dict[str, float]:
    """Serve until for_s is over or a signal comes; return the exchange's status.

    home: where `ticklake ingest sim` looks for the address. Raises Unavailable when the port is
    taken, BadInput for a home or a log of truth that can't be written.
    """
    return asyncio.run(_run(options, home, ready))


async def _run(
    options: ExchangeOptions, home: Path | None, ready: Callable[[str], None] | None
) -> dict[str, float]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    exchange = _exchange(options)
    try:
        url = await exchange.start()
    except OSError as error:
        taken = error.errno in (errno.EADDRINUSE, errno.EACCES)
        raise Unavailable(
            f"{options.host}:{options.port}",
            _said(error),
            "use --port 0" if taken else "use another --host",
        ) from error
    announced = None
    try:
        announced = _announce(home, url) if home is not None else None
        if ready is not None:
            ready(url)
        with suppress(TimeoutError):
            await asyncio.wait_for(exchange.serve(stop), options.for_s or None)
    finally:
        await exchange.stop()
        if announced is not None:
            announced.unlink(missing_ok=True)
    return exchange.status()


def _exchange(options: ExchangeOptions) -> Exchange:
    try:
        return Exchange(options)
    except OSError as error:
        raise BadInput(f"--truth {options.truth}", _said(error), "use another file") from error


def _said(error: OSError) -> str:
    """Return the system's words for an error; a name that is not found has other numbers."""
    known = error.errno is not None and error.errno > 0
    return os.strerror(error.errno or 0) if known else str(error.strerror or error)


def _announce(home: Path, url: str) -> Path:
    path = home / "run" / "sim.json"
    new = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps({"url": url, "pid": os.getpid()}))
        os.replace(new, path)
    except OSError as error:
        raise BadInput(f"home {home}", _said(error), "choose another with --home") from error
    return path

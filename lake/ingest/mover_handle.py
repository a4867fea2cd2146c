"""Start, watch and end the mover process from the process that reads the sockets."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lake import errors
from lake.errors import TicklakeError, Unavailable
from lake.lineage.destination import NAMESPACE
from lake.state import read_state
from lake.trino_session import trino_of
from lake.warehouse import warehouse_of

START_S_MAX = 60.0
END_S_MAX = 3.0
LINE_BYTES_MAX = 1 << 20

MEMORY = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:200,muzzy_decay_ms:200",  # the allocator inside polars
}
"""Allocators that give memory back: batches come and go by the hundred megabytes a second."""

PARTS = {"write": "ingest", "commit": "lake_writer", "keep": "operator"}
"""Part of a mover -> the role with the least rights that it needs."""

Progress = dict[str, Any]


def accesses(home: Path, dsn: str) -> Progress:
    """Return how each of the mover's parts connects: as its role, else with dsn."""
    known = read_state(home).get("roles", {})
    found = {
        part: {
            "dsn": known.get(role, {}).get("dsn", dsn),
            "warehouse": warehouse_of(home, role).order(),
        }
        for part, role in PARTS.items()
    }
    return {**found.pop("write"), **found}


class MoverHandle:
    """A mover process; it ends by itself when this process dies."""

    def __init__(self, dsn: str, home: Path, claims: list[str], shard: int | None = None) -> None:
        self._order = {
            "shard": shard,
            "journal": str(home / "journal"),
            "trino": trino_of(home, "operator"),
            "claims": claims,
            "namespace": read_state(home).get("lineage", {}).get("namespace", NAMESPACE),
            **accesses(home, dsn),
        }
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._shard: asyncio.Future[int] | None = None
        self._fault: TicklakeError | None = None
        self._drained = False
        self.epoch = 0
        """Of the shard's lease, once it is started: it rises with every owner."""
        self.on_progress: Callable[[Progress], None] = lambda progress: None

    async def start(self) -> int:
        """Start the process; return the shard that it owns now."""
        self._shard = asyncio.get_running_loop().create_future()
        self._process = await asyncio.create_subprocess_exec(
            "env",
            *(f"{name}={value}" for name, value in MEMORY.items()),
            sys.executable,
            "-m",
            "lake.ingest.mover_process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
            start_new_session=True,  # Ctrl-C is for the parent, which then asks for a drain
        )
        self._tell(json.dumps(self._order))
        self._reading = asyncio.create_task(self._read())
        try:
            return await asyncio.wait_for(asyncio.shield(self._shard), START_S_MAX)
        except TimeoutError as error:
            raise Unavailable(
                "mover", f"did not start in {START_S_MAX} s", "is the server up?"
            ) from error

    def check(self) -> None:
        """Raise what ended the process, if it has ended before it was asked to."""
        if self._fault is not None:
            raise self._fault
        if self._process is not None and self._process.returncode is not None and not self._drained:
            raise Unavailable(
                "mover", f"ended with {self._process.returncode}", "start ingest again: it recovers"
            )

    async def drain(self, on_progress: Callable[[Progress], None]) -> None:
        """Ask for the end, and wait until everything durable is in the lake."""
        self.on_progress = on_progress
        self._tell("drain")
        assert self._process is not None
        assert self._reading is not None
        await self._process.wait()
        await self._reading
        self.check()

    async def close(self) -> None:
        """End the process if it still runs: at once, since its place is in the stores."""
        if self._process is None:
            return
        if self._fault is not None or (self._reading is not None and self._reading.done()):
            # it is ending by itself; a signal now would take its exit code from who waits for it
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), END_S_MAX)
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), END_S_MAX)
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            self._reading.cancel()

    def _tell(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(ConnectionError):
            self._process.stdin.write(line.encode() + b"\n")

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._shard is not None
        async for line in self._process.stdout:
            message = json.loads(line)
            if "shard" in message and not self._shard.done():
                self.epoch = message["epoch"]
                self._shard.set_result(message["shard"])
            if "fault" in message:
                kind = getattr(errors, message["kind"], Unavailable)
                self._fault = kind(*message["fault"])
            if "progress" in message:
                self._drained = self._drained or message.get("drained", False)
                self.on_progress(message["progress"])
        if not self._shard.done():
            fault = self._fault or Unavailable(
                "mover", "ended before it had a shard", "see its log"
            )
            self._shard.set_exception(fault)

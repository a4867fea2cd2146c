"""A server of a test on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import ClassVar, Self

from lake.closes import Closes


class InThread(Closes):
    """Serves from `with` to its end, or to `close()`."""

    start_s_max: ClassVar[float]
    end_s_max: ClassVar[float | None] = None
    """Seconds that its end is waited for; None: as long as it takes."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until stop; `self._ready` is set once it does."""
        raise NotImplementedError

    async def _run(self) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stop.set)
        await self.serve(stop)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(self.start_s_max)
        return self

    def close(self) -> None:
        """End it."""
        self._stop()
        self._thread.join(self.end_s_max)

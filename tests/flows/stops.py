"""What stops a loop in tests, without anybody's waiting."""

from __future__ import annotations

import threading


class EndsAfter(threading.Event):
    """Nobody waits for it; it ends with so many waits, and keeps how long they were to be."""

    def __init__(self, waits_max: int) -> None:
        super().__init__()
        self._waits_max = waits_max
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Return at once whether it has ended."""
        self.waits.append(timeout)
        if len(self.waits) == self._waits_max:
            self.set()
        return self.is_set()

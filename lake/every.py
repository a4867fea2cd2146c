"""Something that is done again and again beside other work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def every(period_s: float, act: Callable[[], object], name: str) -> Iterator[None]:
    """Act after each period in a thread of its own, until the end of the block."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(period_s):
            act()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()

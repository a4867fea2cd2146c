"""The service's own counts, told in a report of the home every second."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lake.clock import Clock
from serving.live.report import REPORT_S, SERVICE, end_report, write_report
from serving.service.parts import Parts


@contextmanager
def reported(home: Path, parts: Parts, clock: Clock) -> Iterator[None]:
    """Tell them until left; a disk that is full keeps nobody from trading."""
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(REPORT_S):
            parts.counts.killed.set(parts.stop.state()["killed"])
            with suppress(OSError):
                write_report(home, SERVICE, {"text": parts.counts.text().decode()}, clock)

    thread = threading.Thread(target=tell, daemon=True, name="report")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        end_report(home, SERVICE)

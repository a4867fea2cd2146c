"""The service's own counts, told in a report of the home every second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lake.clock import Clock
from serving.live.report import SERVICE, saying
from serving.service.parts import Parts


@contextmanager
def reported(home: Path, parts: Parts, clock: Clock) -> Iterator[None]:
    """Tell them until left."""

    def said() -> Mapping[str, Any]:
        parts.counts.killed.set(parts.stop.state()["killed"])
        return {"text": parts.counts.text().decode()}

    with saying(home, SERVICE, clock, said):
        yield

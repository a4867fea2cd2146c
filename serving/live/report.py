"""What the live half says of itself, in files of the home that any process may read.

home/run/live/NAME.json, replaced every second, gone after an orderly end. A file that grows old is
of a process that hangs or was killed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lake.clock import Clock
from lake.every import every

FOLDER = "run/live"
WORKER, SERVICE, SIGNALS, SESSIONS = "worker", "service", "signals", "sessions"
BESIDE_SERVICE = (WORKER, SIGNALS, SESSIONS)
"""Processes of `ticklake live` beside the service."""

FAULTS = "faults"
"""In what a process says: a list of what is wrong with its work, in words."""

REPORT_S = 1.0
SILENT_S = 5.0
"""Who has said nothing for so long is not up."""


@dataclass(frozen=True, slots=True)
class LiveReport:
    """said: by the process itself; age_s: since then."""

    said: Mapping[str, Any]
    age_s: float

    @property
    def speaks(self) -> bool:
        """Tell whether it runs and says so."""
        return self.age_s < SILENT_S


def write_report(home: Path, name: str, said: Mapping[str, Any], clock: Clock) -> None:
    """Replace a report at once; raises OSError."""
    path = _path(home, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}.new")
    new.write_text(json.dumps({"at_us": clock.now_us(), "said": said}))
    new.replace(path)


def end_report(home: Path, name: str) -> None:
    """Say no more: the process ends in order."""
    _path(home, name).unlink(missing_ok=True)


def read_report(home: Path, name: str, clock: Clock) -> LiveReport | None:
    """Return the last report; None where there is none, or it is not whole."""
    try:
        found = json.loads(_path(home, name).read_bytes())
        age_s = max(0.0, (clock.now_us() - int(found["at_us"])) / 1e6)
        return LiveReport(dict(found["said"]), age_s)
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def saying(
    home: Path, name: str, clock: Clock, said: Callable[[], Mapping[str, Any]] = dict
) -> Iterator[None]:
    """Say it every second until left; a disk that is full keeps nobody from work."""

    def say() -> None:
        with suppress(OSError):
            write_report(home, name, said(), clock)

    try:
        with every(REPORT_S, say, "report"):
            yield
    finally:
        end_report(home, name)


def processes_of(home: Path, clock: Clock) -> dict[str, bool]:
    """Return whether each process beside the service speaks that has begun to, and did not end."""
    found = {name: read_report(home, name, clock) for name in BESIDE_SERVICE}
    return {name: each.speaks for name, each in found.items() if each is not None}


def reports_of(home: Path, clock: Clock) -> dict[str, LiveReport]:
    """Return what the service and each process beside it said last, of those that did not end."""
    found = {name: read_report(home, name, clock) for name in (SERVICE, *BESIDE_SERVICE)}
    return {name: each for name, each in found.items() if each is not None}


def faults_of(home: Path, clock: Clock) -> list[str]:
    """Return what processes beside the service say is wrong with their work."""
    found = (read_report(home, name, clock) for name in BESIDE_SERVICE)
    return [str(f) for each in found if each and each.speaks for f in each.said.get(FAULTS, ())]


def _path(home: Path, name: str) -> Path:
    return home / FOLDER / f"{name}.json"

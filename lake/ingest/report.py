"""What every ingest says of itself, in a file of the home that any process may read.

home/run/ingest/shard-N.json, replaced every second by a thread of the ingest's process; an orderly
end removes it, a fault stays in it until the shard's next ingest. A file that grows old is a
process that hangs or was killed.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lake.clock import Clock
from lake.errors import TicklakeError
from lake.every import every
from lake.hot.lease import boot_id, is_alive
from lake.ingest.status import Show, Status

REPORT_S = 1.0
SILENT_S = 3.0
"""An ingest or mover that has said nothing for so long is wrong: three times its period."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """status: lake.ingest.status.Status as JSON. fault: what ended it, as (kind, thing, fault,
    remedy). age_s: since it was written. alive: its process may still run.
    """

    shard: int
    pid: int
    status: dict[str, Any]
    fault: tuple[str, str, str, str] | None
    at_us: int
    age_s: float
    alive: bool

    @property
    def speaks(self) -> bool:
        """Tell whether the ingest runs and says so."""
        return self.alive and self.fault is None and self.age_s < SILENT_S

    @property
    def heard_us(self) -> dict[str, int]:
        """Return live feed -> until when it was heard: while no gap of it is open, it is.

        Empty while it drains in good order: then nobody is to hear them any more.
        """
        if self.status["draining"] and self.fault is None:
            return {}
        turned_us = self.status["at_us"] or self.at_us
        return {
            feed: said["last_us"] if said["gaps_opened"] > said["gaps_closed"] else turned_us
            for feed, said in self.status["feeds"].items()
            if feed in self.status.get("live", ())
        }

    @property
    def mover_age_s(self) -> float | None:
        """Return how long the mover had been silent when this was said; None before it spoke."""
        at_us = self.status["mover"].get("at_us")
        return max(0.0, (self.at_us - at_us) / 1e6) if at_us else None

    @property
    def mover_speaks(self) -> bool:
        """Tell whether the mover runs and says so."""
        return self.speaks and self.mover_age_s is not None and self.mover_age_s < SILENT_S


def folder(home: Path) -> Path:
    """Return where the reports of a home lie."""
    return home / "run" / "ingest"


def as_report(status: Status, clock: Clock) -> IngestReport:
    """Return what a file written now would say, for the process that says it."""
    now_us = clock.now_us()
    return IngestReport(status.shard, os.getpid(), asdict(status), None, now_us, 0.0, True)


def read_reports(home: Path, clock: Clock) -> list[IngestReport]:
    """Return the reports of a home, by shard; one that is torn is left out until the next."""
    found = []
    for path in sorted(folder(home).glob("shard-*.json")):
        with suppress(FileNotFoundError, json.JSONDecodeError, KeyError):
            said = json.loads(path.read_text())
            found.append(
                IngestReport(
                    said["shard"],
                    said["pid"],
                    said["status"],
                    tuple(said["fault"]) if said["fault"] else None,
                    said["at_us"],
                    max(0.0, (clock.now_us() - said["at_us"]) / 1e6),
                    is_alive(said["pid"], said["host"], said["boot_id"]),
                )
            )
    return found


def feeds_heard(home: Path, clock: Clock) -> dict[str, int]:
    """Return live feed -> until when it was heard (UTC microseconds), by the ingest that did least.

    Of ingests that run, or that ended by a fault or were killed: one that ended in good order left
    no report, and its feeds are nobody's to hear.
    """
    found: dict[str, int] = {}
    for report in read_reports(home, clock):
        for feed, heard_us in report.heard_us.items():
            found[feed] = min(heard_us, found.get(feed, heard_us))
    return found


def forget_reports(home: Path) -> None:
    """Remove the reports of ingests that no longer speak."""
    for path in folder(home).glob("shard-*.json"):
        with suppress(FileNotFoundError, json.JSONDecodeError, KeyError):
            said = json.loads(path.read_text())
            if said["fault"] or not is_alive(said["pid"], said["host"], said["boot_id"]):
                path.unlink()


@contextmanager
def reporting(home: Path, clock: Clock, show: Show) -> Iterator[Show]:
    """Yield a `show` that passes on to another, and report what it is shown until left."""
    writer = _Writer(home, clock)

    def shown(status: Status) -> None:
        writer.status = status
        show(status)

    fault: TicklakeError | None = None
    try:
        with every(REPORT_S, writer.say, "report"):
            yield shown
    except TicklakeError as error:
        fault = error
        raise
    finally:
        writer.end(fault)


class _Writer:
    def __init__(self, home: Path, clock: Clock) -> None:
        self.status: Status | None = None
        self._folder = folder(home)
        self._clock = clock
        self._ours = {"pid": os.getpid(), "host": socket.gethostname(), "boot_id": boot_id()}

    def say(self) -> None:
        """Replace the file by what was shown last."""
        self._write(None)

    def end(self, fault: TicklakeError | None) -> None:
        """Leave the fault, or nothing."""
        if self.status is None or self.status.shard < 0:
            return
        if fault is not None:
            self._write((type(fault).__name__, fault.thing, fault.fault, fault.remedy))
        else:
            self._path(self.status).unlink(missing_ok=True)

    def _write(self, fault: tuple[str, ...] | None) -> None:
        status = self.status
        if status is None or status.shard < 0:
            return
        said = {
            "shard": status.shard,
            "at_us": self._clock.now_us(),
            "fault": fault,
            "status": asdict(status),
            **self._ours,
        }
        path = self._path(status)
        new = path.with_suffix(".new")
        with suppress(OSError):  # a full disk: the old one grows old, and that shows
            path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps(said))
            new.replace(path)

    def _path(self, status: Status) -> Path:
        return self._folder / f"shard-{status.shard}.json"

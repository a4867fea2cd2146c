"""Named steps of the path, so that a fault can be put exactly there.

In production `Steps()` does nothing. A fault run gives it a plan: at the n-th arrival at a step,
the process dies, stops, or sees the error that a disk or a server would have given.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter
from collections.abc import Mapping

from lake.errors import WrongUse

NAMES = (
    "shard.announce",
    "frame.read",
    "journal.write",
    "journal.fsync",
    "journal.published",
    "journal.segment",
    "stage.file",
    "hot.copy",
    "hot.commit",
    "hot.committed",
    "lake.parquet",
    "lake.manifest",
    "lake.pointer",
    "lake.committed",
    "upkeep.rewrite",
    "upkeep.commit",
    "upkeep.expire",
    "upkeep.remove",
    "day.drop",
    "retain.write",
    "retain.enter",
    "retain.commit",
    "retain.left",
    "retain.delete",
    "quality.looked",
    "quality.written",
    "quality.recorded",
    "audit.checked",
    "audit.written",
    "audit.kept",
    "model.run",
    "model.files",
    "model.version",
    "online.written",
    "model.role",
    "model.predicted",
)
"""Every step, in the order in which a frame passes them; then those of what looks at the lake, of
models and of served values."""

FAULTS = ("kill", "stop", "EIO", "ENOSPC", "lost-answer")


class LostAnswer(ConnectionError):
    """The server did it, and its answer never came back."""


class Steps:
    """Call `at(name)` when a step is reached.

    plan: step name -> (fault, n): the n-th arrival (from 1) meets the fault, once.
    """

    def __init__(self, plan: Mapping[str, tuple[str, int]] | None = None) -> None:
        self._plan = dict(plan or {})
        self._arrivals: Counter[str] = Counter()
        for name, (fault, _) in self._plan.items():
            if name not in NAMES or fault not in FAULTS:
                raise WrongUse(f"fault {name}={fault}", "unknown step or fault", f"one of {NAMES}")

    @classmethod
    def parse(cls, text: str) -> Steps:
        """Read a plan written as `step=fault@n,step=fault@n`; an empty text is no plan."""
        plan = {}
        for item in filter(None, text.split(",")):
            name, _, rest = item.partition("=")
            fault, _, n = rest.partition("@")
            plan[name] = (fault, int(n or 1))
        return cls(plan)

    def at(self, name: str) -> None:
        """Note the arrival; meet the planned fault if this is its turn."""
        if not self._plan:
            return
        self._arrivals[name] += 1
        fault, n = self._plan.get(name, ("", 0))
        if self._arrivals[name] != n:
            return
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif fault == "lost-answer":
            raise LostAnswer(name)
        elif fault:
            raise OSError(getattr(errno, fault), os.strerror(getattr(errno, fault)), name)

"""Start the sealing process when a segment is due, and take its answer: never more than one."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress

from lake.ingest.mover_context import MoverContext
from lake.journal.due import due_segments

AT_ONCE_MAX = 4
"""Segments of a shard that one process seals."""

END_S_MAX = 5.0

PROCESS = "lake.verify.sealing_process"
"""A name, since verify is built on ingest: nothing of it is imported here."""


class Sealer:
    """The sealing of one home's journals, by the mover that is the committer."""

    def __init__(self, context: MoverContext) -> None:
        self._context = context
        self._process: subprocess.Popen[str] | None = None

    def turn(self) -> None:
        """Take an answer that has come, or start the process if a segment is due."""
        try:
            self._turn()
        except OSError as error:  # a segment went while we looked, or there is no room to start
            self._context.progress.last_fault = f"journal: not sealed: {error}"

    def _turn(self) -> None:
        if self._process is None:
            if self._is_due():
                self._start()
        elif self._process.poll() is not None:
            said = self._process.communicate()[0]
            self._process = None
            self._take(said)

    def close(self) -> None:
        """End a process that runs; what it has sealed stays sealed."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=END_S_MAX)

    def _is_due(self) -> bool:
        settings, place = self._context.settings, self._context.place
        limits = {
            "keep_hours": settings.journal_keep_hours,
            "bytes_max": settings.journal_bytes_max,
        }
        return any(
            next(due_segments(folder, self._context.clock.now_us(), **limits), None)
            for folder in place.journal.parent.glob("shard-*")
        )

    def _start(self) -> None:
        settings, place = self._context.settings, self._context.place
        order = {
            "dsn": place.keep.dsn,
            "warehouse": place.keep.warehouse.order(),
            "journal": str(place.journal.parent),
            "keep_hours": settings.journal_keep_hours,
            "bytes_max": settings.journal_bytes_max,
            "at_once_max": AT_ONCE_MAX,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", PROCESS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, which its answer will say
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()

    def _take(self, said: str) -> None:
        progress = self._context.progress
        try:
            answer = json.loads(said)
        except json.JSONDecodeError:
            progress.last_fault = f"{PROCESS} ended without an answer"
            return
        progress.segments_sealed += answer["deleted"]
        if answer["kept"]:
            progress.last_fault = f"journal: {answer['kept']}"

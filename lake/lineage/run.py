"""Tell of a run while it goes on: what begins, what it wrote, how it ended.

Lineage never ends the work that it tells of: an event that can't be written is counted and said on
standard error, and the work goes on.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from lake.clock import Clock
from lake.closes import Closes
from lake.database import with_options
from lake.lineage.book import note
from lake.lineage.destination import NAMESPACE
from lake.lineage.event import EventType, Told
from lake.lineage.job import Job, Written

CONNECT_S_MAX = 2
LOCK_MS_MAX = 2_000
"""Longest wait of a write of events for others' writes."""


@dataclass
class Teller:
    """Writes events of one process to the book; dropped counts those that could not be."""

    dsn: str
    clock: Clock
    namespace: str = NAMESPACE
    dropped: int = 0

    def tell(self, *events: Told) -> None:
        """Write events; a fault is counted and said, not raised."""
        address = with_options(self.dsn, lock_timeout=LOCK_MS_MAX, statement_timeout=LOCK_MS_MAX)
        try:
            with psycopg.connect(
                address, autocommit=True, connect_timeout=CONNECT_S_MAX
            ) as connection:
                note(connection, self.namespace, events)
        except psycopg.Error as error:
            self.dropped += len(events)
            fault = (str(error).strip().splitlines() or [type(error).__name__])[0]
            print(f"lineage: {len(events)} events not written: {fault}", file=sys.stderr)

    @contextmanager
    def run(self, job: Job) -> Iterator[Run]:
        """Tell that a run began and how it ended; the fault of its work goes on to the caller."""
        run = Run(self, job)
        run.tell("START")
        with run.ends():
            yield run


@dataclass
class Run:
    """One run of a job, by its UUID; told: an event of it was written, or was to be.

    ended: its last event was, and none follows.
    """

    teller: Teller
    job: Job
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    written: dict[str, Written] = field(default_factory=dict)
    told: bool = False
    ended: bool = False

    def wrote(self, name: str, snapshot_id: int | None, rows: int | None = None) -> None:
        """Note what the run wrote; rows of one name add up, its newest snapshot stays."""
        before = self.written.get(name)
        added = (before.rows or 0) + (rows or 0) if before and before.rows else rows
        self.written[name] = Written(name, snapshot_id, added)

    def tell(self, type_: EventType, *, fault: str = "", brief: bool = False) -> None:
        """Tell of the run as it stands."""
        at_us = self.teller.clock.now_us()
        written = tuple(self.written.values())
        self.told = True
        self.teller.tell(Told(self.job, self.run_id, type_, at_us, written, fault, brief))

    def end(self, fault: BaseException | None = None, *, brief: bool = False) -> None:
        """Tell how it ended, once, if it was told of at all."""
        if not self.told or self.ended:
            return
        self.ended = True
        if fault is None:
            self.tell("COMPLETE", brief=brief)
        else:
            kind: EventType = "FAIL" if isinstance(fault, Exception) else "ABORT"
            self.tell(kind, fault=_words(fault), brief=brief)

    @contextmanager
    def ends(self, *, brief: bool = False) -> Iterator[None]:
        """Tell how it ended, if it was told of; the fault of its work goes on to the caller."""
        try:
            yield
        except BaseException as error:
            self.end(error, brief=brief)
            raise
        self.end(brief=brief)


class TellsItsEnd(Closes):
    """What tells of its work as one run that ends with its `with`, by a fault or in good order."""

    _run: Run

    def close(self) -> None:
        """Tell that it is done, if there was anything to tell."""
        self._run.end()

    def __exit__(self, *error: object) -> None:
        fault = error[1] if len(error) > 1 else None
        self._run.end(fault if isinstance(fault, BaseException) else None)
        self.close()


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")

"""`verify`: prove that journal, hot tier and lake hold what the ledger says, and say where not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import psycopg

from lake import ledger
from lake.clock import Clock, SystemClock
from lake.errors import Unavailable
from lake.hot.batches import last_frames
from lake.hot.hot_tier import LEDGER
from lake.ingest.codecs import codecs
from lake.roles import role_dsn
from lake.state import remedy
from lake.verify.frames_check import FRAMES, check_frames
from lake.verify.hot_check import check_hot
from lake.verify.journal_check import BATCHES, check_batches
from lake.verify.lake_check import check_lake
from lake.verify.left_check import check_left
from lake.verify.marks import DatasetMarks, Marks
from lake.verify.reading import Reading
from lake.verify.report import Fault, Report, Tier
from lake.verify.restored_check import check_restored
from lake.verify.runs import note_run
from lake.verify.waiting_check import check_waiting
from lake.views.client import with_application
from lake.warehouse import Warehouse, warehouse_of

APPLICATION = "ticklake-verify"
VERIFIER = "verifier"


def verify(
    home: str | os.PathLike[str] = ".ticklake",
    *,
    dsn: str | None = None,
    journal: Path | None = None,
    warehouse: Warehouse | None = None,
    full: bool = False,
    clock: Clock | None = None,
) -> Report:
    """Compare every tier of a home with the loss ledger.

    dsn (libpq) goes before the home's own, and then journal (the folder of shards) and warehouse do
    too; with neither folder, frames are not decoded again.
    full: trust no earlier proof and read everything again. Safe while ingest runs. The run is
    noted in market.verify_runs, faults are an alert. Raises Unavailable when the servers are not
    up.
    """
    if dsn is None and journal is None:
        journal = Path(home) / "journal"
    if dsn is None and warehouse is None:
        warehouse = warehouse_of(Path(home), VERIFIER)
    address = with_application(dsn or role_dsn(Path(home), VERIFIER), APPLICATION)
    clock = clock or SystemClock()
    start_us = clock.monotonic_us()
    try:
        with psycopg.connect(address) as connection:
            marks = Marks(connection)
            marks.lock()
            with Reading(address, warehouse) as reading:
                report = _check(reading, marks, journal, full)
            waiting = check_waiting(journal, lambda: last_frames(connection))
            report = replace(
                report,
                faults=(*report.faults, *waiting.faults),
                frames_waiting=waiting.frames,
            )
            took_ms = (clock.monotonic_us() - start_us) // 1000
            note_run(connection, report, clock, took_ms=took_ms, full=full)
            return report
    except psycopg.OperationalError as error:
        said = str(error).strip().splitlines()[0]
        raise Unavailable("hot tier", said, remedy(said, "start it: ticklake up")) from error


def _check(reading: Reading, marks: Marks, journal: Path | None, full: bool) -> Report:
    def known(tier: Tier, dataset: str) -> DatasetMarks:
        return DatasetMarks() if full else marks.read(tier, dataset)

    faults, proven = check_batches(reading, known("journal", BATCHES))
    events = proven.events
    _leave(marks, "journal", BATCHES, faults, proven)
    for dataset in (*ledger.MEASURES, LEDGER):
        in_hot, hot = check_hot(reading, dataset, known("hot", dataset))
        in_lake, lake = check_lake(reading, dataset, known("lake", dataset))
        if not in_hot and not in_lake:
            in_lake = check_left(reading, dataset, hot, lake)
        _leave(marks, "hot", dataset, in_hot, hot)
        _leave(marks, "lake", dataset, in_lake, lake)
        faults += in_hot + in_lake
    if journal is not None and not faults:
        # Only against stored rows that are right is a difference the journal's or a mover's.
        found, proven = check_frames(reading, journal, codecs(), known("journal", FRAMES))
        _leave(marks, "journal", FRAMES, found, proven)
        faults += found
    faults += check_restored(reading, journal)
    return Report(events, tuple(faults), reading.rows_read)


def _leave(
    marks: Marks, tier: Tier, dataset: str, faults: list[Fault], proven: DatasetMarks
) -> None:
    if not faults:
        marks.write(tier, dataset, proven)

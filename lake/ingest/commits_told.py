"""Tell of the commits to the lake as one long run: at its start, once a minute, at its end.

An event a commit would be more rows than commits; each one here has the newest snapshot of every
table that got rows since the event before, and how many rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from lake.clock import Clock
from lake.ingest.hot_to_lake import LAKE_DATASETS, Moved
from lake.lineage.job import JOURNAL, Job, hot, lake
from lake.lineage.run import Run, Teller
from lake.tables.lake_table import LakeTable

JOURNAL_TO_HOT = Job(
    "journal_to_hot",
    "Decodes durable frames of a shard's journal into the tables of the hot tier, exactly once.",
    (JOURNAL,),
    tuple(map(hot, LAKE_DATASETS)),
    streaming=True,
)
HOT_TO_LAKE = Job(
    "hot_to_lake",
    "Appends the rows of the hot tier to the lake's tables, each exactly once.",
    tuple(map(hot, LAKE_DATASETS)),
    tuple(map(lake, LAKE_DATASETS)),
    streaming=True,
)
TELL_S = 60.0
"""Least time between two events of a run that goes on."""


class CommitsTold:
    """What a committer has committed and not told of yet; one thread uses it."""

    def __init__(self, teller: Teller, clock: Clock) -> None:
        self._teller = teller
        self._clock = clock
        self._runs: tuple[Run, ...] = ()
        self._told_us = 0

    def moved(self, moved: Moved, tables: Sequence[LakeTable]) -> None:
        """Note what a round moved; tell of it at once the first time, then as TELL_S has it."""
        rows = {dataset: count for dataset, count in moved.rows.items() if count}
        if not rows:
            return
        starts = not self._runs
        if starts:
            self._runs = tuple(Run(self._teller, job) for job in (JOURNAL_TO_HOT, HOT_TO_LAKE))
        to_hot, to_lake = self._runs
        heads = {table.dataset: table.table.metadata.current_snapshot_id for table in tables}
        for dataset, count in rows.items():
            to_hot.wrote(hot(dataset), None, count)
            to_lake.wrote(lake(dataset), heads.get(dataset), count)
        now_us = self._clock.monotonic_us()
        if starts or now_us - self._told_us >= TELL_S * 1e6:
            self._told_us = now_us
            for run in self._runs:
                run.tell("START" if starts else "RUNNING", brief=not starts)
                run.written.clear()

    def end(self) -> None:
        """Tell that the run is over, with what it did since it last told."""
        for run in self._runs:
            run.tell("COMPLETE")
        self._runs = ()

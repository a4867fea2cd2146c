"""Upkeep of one table by Trino, which then does the work that grows with the data.

What is to be done is found as in process: small files worth merging, snapshots too many. Trino
merges the files and sweeps what nobody needs; our own process goes on to expire snapshots by their
number, which is what a commit costs and which Trino does not know.

Trino's sweeps delete at once, by a file's age alone. No running query loses a file by them all the
same, because they wait for a tag that is older than any query: what the head let go of since then
is held by the tag, or is younger than the tag and so too young for the sweep (see may_sweep).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

import numpy as np
from pyiceberg.catalog.sql import SqlCatalog

from lake.errors import Refused, Unavailable, WrongUse
from lake.steps import Steps
from lake.tables.commit import faults_of
from lake.tables.data_file import time_column_of
from lake.tables.tags import HOUR, tag_time
from lake.tables.upkeep import (
    LIMITS,
    REMOVE_AFTER_S,
    Merged,
    Upkeep,
    UpkeepLimits,
    group_to_merge,
    live_files,
    rows_of_days,
)
from lake.trino_session import SCHEMA, UPKEEP_CATALOG, LostRace, Trino, TrinoAway

SMALL_BYTES = 16 << 20
"""Files below this size are merged; twice the largest of the group where that is more."""

SWEEP_AGE_S = 3 * 3_600
"""Age at which a sweep takes snapshots and files that nobody needs."""

TRIES_MAX = 5
"""Times that a statement is tried when others commit first."""


class TrinoUpkeep(Upkeep):
    """The same upkeep, with Trino's hands."""

    def __init__(
        self,
        catalog: SqlCatalog,
        dataset: str,
        sort_columns: Sequence[str],
        *,
        epoch: int,
        commit_lock: AbstractContextManager[object],
        session: Trino,
        steps: Steps | None = None,
        limits: UpkeepLimits = LIMITS,
        sweep_age_s: int = SWEEP_AGE_S,
    ) -> None:
        super().__init__(
            catalog,
            dataset,
            sort_columns,
            epoch=epoch,
            commit_lock=commit_lock,
            steps=steps,
            limits=limits,
        )
        self._session = session
        self._sweep_age_s = sweep_age_s

    def merge(self, days: Collection[int] | None = None) -> Merged | None:
        """Have Trino merge the small files of one day; None when there are too few to be worth it,
        or it changed nothing.

        days: as for Upkeep. Raises LostRace when others were first TRIES_MAX times, Unavailable.
        """
        with faults_of(self.dataset):
            table = self.load()
            column = time_column_of(table)
            within = rows_of_days(column, days)
            group = group_to_merge(live_files(table, within), self._limits)
            if group is None:
                return None
            day = int(group[0].partition[0]) if column else 0
            within = rows_of_days(column, [day])
            before = {file.file_path for file in live_files(table, within)}
        self._steps.at("upkeep.rewrite")
        size = max(SMALL_BYTES, 2 * max(file.file_size_in_bytes for file in group))
        where = f" WHERE {_day_sql(column, day)}" if column else ""
        self._alter(f"optimize(file_size_threshold => '{size}B'){where}")
        with faults_of(self.dataset):
            after = {file.file_path: file for file in live_files(self.load(), within)}
        freed = sorted(before - after.keys())
        if not freed:  # it saw nothing to do: asked again, it would say so again
            return None
        new = [file for path, file in after.items() if path not in before]
        return Merged(len(freed), len(new), sum(file.record_count for file in new), freed)

    def sweep(self, now: datetime) -> bool:
        """Expire, remove and rewrite what has become too much; False while it must wait for a tag.

        now: UTC. Raises as merge does.
        """
        with faults_of(self.dataset):
            names = self.load().metadata.refs.keys()
        if not may_sweep(names, now, self._sweep_age_s):
            return False
        self.sweep_now()
        return True

    def sweep_now(self) -> None:
        """Sweep without a look at the tags; raises as merge does."""
        for kind in ("expire_snapshots", "remove_orphan_files"):
            self._run(f"SET SESSION {UPKEEP_CATALOG}.{kind}_min_retention = '{self._sweep_age_s}s'")
            self._alter(f"{kind}(retention_threshold => '{self._sweep_age_s}s')")
        self._alter("optimize_manifests")

    def _alter(self, work: str) -> None:
        statement = f"ALTER TABLE {UPKEEP_CATALOG}.{SCHEMA}.{self.dataset} EXECUTE {work}"
        for left in reversed(range(TRIES_MAX)):
            try:
                self._run(statement)
                return
            except LostRace as error:
                if not left:
                    raise Unavailable(
                        f"lake.{self.dataset}",
                        f"others changed it first, {TRIES_MAX} times",
                        "it is tried again in the next round",
                    ) from error

    def _run(self, statement: str) -> None:
        """Run a statement of ours: a Trino that refuses it does no upkeep now, and harms nobody."""
        try:
            self._session.execute(statement)
        except (Refused, WrongUse) as error:
            raise TrinoAway(error.thing, error.fault, error.remedy) from error


def may_sweep(names: Collection[str], now: datetime, age_s: int) -> bool:
    """Tell whether a tag stands that was made longer ago than any query runs, and within age_s.

    A tag of an hour was made some time within that hour.
    """
    made = [at for at in (tag_time(name, HOUR) for name in names) if at is not None]
    newest = now - timedelta(hours=1, seconds=REMOVE_AFTER_S)
    return any(now - timedelta(seconds=age_s) <= at <= newest for at in made)


def _day_sql(column: str, day: int) -> str:
    low, high = (f"TIMESTAMP '{np.datetime64(at, 'D')} 00:00:00 UTC'" for at in (day, day + 1))
    return f"{column} >= {low} AND {column} < {high}"

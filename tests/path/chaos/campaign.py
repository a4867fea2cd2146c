"""Run many seeds, one after the other, and tell how each failure can be had again."""

from __future__ import annotations

import shutil
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psycopg

from lake.hot import hot_tier
from lake.tables.lake_table import announce
from lake.views import engine
from tests.conftest import Databases
from tests.path.chaos.actions import Action
from tests.path.chaos.place import DATASETS, OURS, Place
from tests.path.chaos.schedule import schedule
from tests.path.chaos.world import World

SHARDS_MAX = 2
IDLE_MS = 400
"""A stopped writer's transaction is ended after this, instead of 10 s."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed whose run broke a promise, and how."""

    seed: int
    what: str
    trace: str
    actions: list[Action]


class Campaign:
    """Databases and a folder for one run at a time."""

    def __init__(self, databases: Databases, migrated: str, folder: Path) -> None:
        self._databases = databases
        self._migrated = migrated
        self._house = folder / "house"
        self._template = folder / "template"
        self._before = (dict(engine._CONFIG), hot_tier.IDLE_IN_TRANSACTION_MS)
        # Checking the signatures of DuckDB's extensions costs more than a whole run.
        engine._CONFIG["allow_unsigned_extensions"] = True
        hot_tier.IDLE_IN_TRANSACTION_MS = IDLE_MS
        self.tally: Counter[str] = Counter()
        self._announced = self._announce()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        config, hot_tier.IDLE_IN_TRANSACTION_MS = self._before
        engine._CONFIG.clear()
        engine._CONFIG.update(config)

    def run(self, seed: int, actions: Sequence[Action] | None = None) -> Failure | None:
        """Run a seed's schedule, or the given one; return what went wrong."""
        actions = list(schedule(seed) if actions is None else actions)
        try:
            self._run(actions)
        except Exception as error:  # whatever it is, it is the finding
            what = f"{type(error).__name__}: {error}".strip()
            return Failure(seed, what, traceback.format_exc(), actions)
        return None

    def shortened(self, failure: Failure) -> Failure:
        """Leave out what the failure does not need; it must still be one."""
        best = failure
        at = len(best.actions) - 1
        while at > 0:
            fewer = best.actions[:at] + best.actions[at + 1 :]
            found = self.run(failure.seed, fewer)
            best = found or best
            at -= 1
        return best

    def _run(self, actions: Sequence[Action]) -> None:
        start = actions[0]
        shutil.rmtree(self._house, ignore_errors=True)
        if start["fresh"]:
            (self._house / "warehouse").mkdir(parents=True)
        else:
            shutil.copytree(self._template, self._house / "warehouse")
        name = self._databases.create(self._migrated if start["fresh"] else self._announced)
        try:
            world = World(self._place(name), start["shards"])
            try:
                world.run(actions)
            finally:
                world.close()
                self.tally.update(world.tally)
        finally:
            self._databases.drop(name)

    def _place(self, name: str) -> Place:
        dsn = self._databases.dsn(name)
        control = psycopg.connect(dsn, autocommit=True, application_name=OURS)
        return Place(dsn, self._house, control)

    def _announce(self) -> str:
        """Make a database whose lake has its tables, and keep their files."""
        name = self._databases.create(self._migrated)
        place = self._place(name)
        for shard in range(SHARDS_MAX):
            announce(place.catalog(), DATASETS, shard, tries_max=1)
        place.close()
        shutil.move(self._house / "warehouse", self._template)
        return name

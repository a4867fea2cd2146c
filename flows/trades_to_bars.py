"""Bars from trades: what is new since the last run, or a stretch of time anew.

One step takes the trades that came since the marks of the table, and those that waited for their
minute to close, from the union of lake and hot tier; it publishes every bar that they change
together with the new marks. It needs no Prefect and no server of its own. Whoever kills
it loses the work of one step; the next run begins where the table says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date

import psycopg

from flows.arrived import arrived, frames_upto, selected
from flows.jobs import BARS
from lake.archive.book import left_days
from lake.bars.bars_table import BarsTable, Marks
from lake.bars.changes import Changes, Inputs, changes, prepare
from lake.bars.kernel import DATASET, DAY_US, MINUTE_US, teach
from lake.clock import Clock, SystemClock, utc_from_us
from lake.errors import Unavailable, WrongUse
from lake.hot.turn import TURN_S_MAX, turn
from lake.lineage.destination import NAMESPACE
from lake.lineage.job import lake
from lake.lineage.run import Run, Teller, TellsItsEnd
from lake.parts import ShowPart, Through, by_parts, nobody
from lake.quarantine.held_batch import decided
from lake.steps import Steps
from lake.tables.catalog import open_catalog
from lake.views.client import Client
from lake.views.union_view import last_seq
from lake.warehouse import Warehouse

LEASE = DATASET
SOURCES = ("crypto_trades", "crypto_aggregates")
EPOCH_DAY = date(1970, 1, 1).toordinal()
STEP_ROWS_MAX = 5_000_000
"""Stored events of one shard in one step; a step's memory is that of its bars of a second."""

GRACE_MS = 1_000
"""Time after a minute's end at which it is closed: a trade needs some to get here."""

LOOKS_MAX = 5
"""Looks at a catalog that moves meanwhile."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did: bars put and dropped, the time closed before, the snapshot if any.

    more: there are frames that this step did not take.
    """

    put: int
    dropped: int
    closed_us: int
    snapshot_id: int | None
    more: bool = False

    def line(self) -> str:
        """Return it in words."""
        return (
            f"{self.put:,} bars published, {self.dropped:,} of them anew,"
            f" closed before {utc_from_us(self.closed_us):%Y-%m-%d %H:%M} UTC"
        )


class TradesToBars(TellsItsEnd):
    """Makes bars of one lakehouse; one thread uses it at a time. A context manager."""

    def __init__(
        self,
        dsn: str,
        warehouse: Warehouse,
        *,
        clock: Clock | None = None,
        steps: Steps | None = None,
        grace_ms: int = GRACE_MS,
        rows_max: int = STEP_ROWS_MAX,
        wait_s: float = TURN_S_MAX,
        namespace: str = NAMESPACE,
    ) -> None:
        self._dsn = dsn
        self._warehouse = warehouse
        self._clock = clock or SystemClock()
        self._steps = steps or Steps()
        self._grace_us = grace_ms * 1_000
        self._rows_max = rows_max
        self._wait_s = wait_s
        self._client = Client(dsn, warehouse)
        teach(self._client.duckdb)
        prepare(self._client.duckdb)
        self._run = Run(Teller(dsn, self._clock, namespace), BARS)

    def close(self) -> None:
        """Close the connection of the readers."""
        super().close()
        self._client.close()

    def step(self, through: Through | None = None) -> Step:
        """Publish what is new; raises Unavailable when another run was first: call it again.

        through: is told how far it is.
        """
        with self._turn() as table:
            held = self._look(table)
            upto, more = frames_upto(self._dsn, held, self._rows_max, self._client.frames)
            now_us = (self._clock.now_us() - self._grace_us) // MINUTE_US * MINUTE_US
            marks = Marks({**held.through, **upto}, max(held.closed_us, now_us))
            if marks == held:
                return Step(0, 0, held.closed_us, None)
            found = changes(
                self._client.duckdb,
                Inputs(
                    arrived("crypto_trades", held, marks),
                    arrived("crypto_aggregates", held, marks),
                    f"lake.{DATASET}",
                    held.closed_us,
                    marks.closed_us,
                ),
            )
            step = self._published(table, found, marks, more)
            (through or Through()).span(held.through, upto, self._client.frames)(1.0)
            return step

    def drain(self, show: ShowPart = nobody) -> list[Step]:
        """Take steps until none is left; return those that changed something.

        show: is told how far it is.
        """
        done = []
        through = Through(show)
        while True:
            step = self.step(through)
            if step.snapshot_id is not None:
                done.append(step)
            if not step.more:
                return done

    def rebuild(self, first_us: int, last_us: int, show: ShowPart = nobody) -> list[Step]:
        """Make the bars of [first, last) anew from the trades there are, a day at a time.

        Microseconds since the epoch; widened to whole minutes. What is not closed stays so. The
        same call gives the same bars; bars that are right are left alone, and so are those of
        `archived` days. show: is told how far it is.
        """
        first_us = first_us // MINUTE_US * MINUTE_US
        last_us = -(-last_us // MINUTE_US) * MINUTE_US
        if first_us >= last_us:
            raise WrongUse("bars", "--to is not after --from", "give a stretch of time")
        with self._turn() as table:
            days = self._days(first_us, last_us)
            done = [self._rebuild(table, *day) for day in by_parts(days, show)]
        return [step for step in done if step.snapshot_id is not None]

    def archived(self, first_us: int, last_us: int) -> list[date]:
        """Return the days of [first, last) of which trades are in the archive, or gone from it.

        Their bars can't be made anew, and live longer than the trades.
        """
        self._client.refresh()
        first, last = (utc_from_us(each).date() for each in (first_us, last_us - 1))
        with psycopg.connect(self._dsn) as connection:
            days = [
                left_days(connection, dataset, seen.left, first, last)
                for dataset in SOURCES
                if (seen := self._client.snapshots.get(dataset)) is not None
            ]
        return sorted(set().union(*days))

    def _days(self, first_us: int, last_us: int) -> list[tuple[int, int]]:
        """Return the stretches of [first, last) by day, of days that have all their trades."""
        away = {day.toordinal() - EPOCH_DAY for day in self.archived(first_us, last_us)}
        rows = self._client.duckdb.execute(
            " UNION ".join(
                f"SELECT DISTINCT epoch_us(event_time) // {DAY_US} AS day FROM {relation}"
                f" WHERE event_time >= from_us({first_us}) AND event_time < from_us({last_us})"
                for relation in (*SOURCES, f"lake.{DATASET}")
            )
        ).fetchall()
        return [
            (max(first_us, day * DAY_US), min(last_us, (day + 1) * DAY_US))
            for (day,) in sorted(rows)
            if day not in away
        ]

    def _rebuild(self, table: BarsTable, first_us: int, last_us: int) -> Step:
        held = self._look(table)
        last_us = min(last_us, held.closed_us)
        if first_us >= last_us:
            return Step(0, 0, held.closed_us, None)
        found = changes(
            self._client.duckdb,
            Inputs(
                _all("crypto_trades", held, first_us, last_us),
                _all("crypto_aggregates", held, first_us, last_us),
                f"lake.{DATASET}",
                held.closed_us,
                held.closed_us,
                anew=(first_us, last_us),
            ),
        )
        return self._published(table, found, held, more=False)

    def _published(self, table: BarsTable, found: Changes, marks: Marks, more: bool) -> Step:
        put = decided(self._dsn, DATASET, found.put, self._clock)
        found = Changes(put, found.drop)
        snapshot_id = table.publish(found, marks, audited=True) if found.any or more else None
        if snapshot_id is not None:
            self._run.wrote(lake(DATASET), snapshot_id, found.put.num_rows)
            self._run.tell("RUNNING" if self._run.told else "START", brief=self._run.told)
        return Step(found.put.num_rows, found.drop.num_rows, marks.closed_us, snapshot_id, more)

    @contextmanager
    def _turn(self) -> Iterator[BarsTable]:
        with (
            turn(self._dsn, LEASE, wait_s=self._wait_s) as held,
            closing(
                open_catalog(self._dsn, self._warehouse, epoch=held.epoch, lease=LEASE)
            ) as catalog,
        ):
            yield BarsTable(catalog, epoch=held.epoch, steps=self._steps)

    def _look(self, table: BarsTable) -> Marks:
        """Bring table and views to one and the same metadata; return its marks."""
        for _ in range(LOOKS_MAX):
            table.refresh()
            self._client.refresh()
            seen = self._client.snapshots.get(DATASET)
            if seen is not None and seen.metadata_location == table.table.metadata_location:
                return table.marks()
        raise Unavailable(f"lake.{DATASET}", "its catalog moves all the time", "run it again")


def _all(dataset: str, held: Marks, first_us: int, last_us: int) -> str:
    """Select what the bars of [first, last) are made of at these marks."""
    parts = [
        selected(dataset, shard, f"seq <= {last_seq(upto)}", first_us, last_us)
        for shard, upto in held.through.items()
    ]
    return " UNION ALL ".join(parts) or f"FROM {dataset} WHERE false"

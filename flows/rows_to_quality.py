"""Quality of what is new: every rule on the rows that came since the last run, or on a time anew.

One run takes the frames beyond the marks, at most ROWS_MAX events of a shard, the bars that closed
or changed meanwhile, and what flows and the order ledger numbered since; its results and the new
marks are one transaction. It changes no row that it looks at. It needs no Prefect; whoever kills it
loses one run's work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from flows.expectations import Suites
from flows.numbered_to_lake import take_in_turn
from lake.bars.kernel import WIDTHS_US, teach
from lake.clock import Clock, SystemClock
from lake.closes import Closes
from lake.contracts.contract import NUMBERED_DATASETS, TICK_DATASETS, load
from lake.errors import WrongUse
from lake.hot.batches import frame_within
from lake.hot.lease import Lease
from lake.hot.turn import TURN_S_MAX, turn
from lake.parts import ShowPart, Through, by_parts, nobody, within
from lake.quality.book import DATASET, FLOW_SHARD, marks, newest_models, record
from lake.quality.look import Look, Window
from lake.quality.market_rules import stale_rule
from lake.quality.rule import Result
from lake.quality.schema_rules import schema_results
from lake.steps import Steps
from lake.views.client import Client
from lake.views.union_view import last_seq
from lake.warehouse import Warehouse

ROWS_MAX = 2_000_000
"""Events of one shard in one run: about 1 GB of DuckDB's memory."""

BOOKS = ("quarantine", "feed_gaps", "instruments", "ingest_batches")
"""Looked at by their contracts' rules alone."""

BARS = "bars"

FRAMES_PART = 0.8
"""Of a run, what rows of frames are reckoned to take; bars and what is numbered are few."""

NUMBERED_MARKS: Mapping[str, int] = {
    "order_events": -2,
    "position_events": -3,
    "orders": -4,
    "fills": -5,
    "positions": -6,
    "positions_history": -7,
    "portfolio_snapshots": -8,
    "model_predictions": -9,
    "asset_edges": -10,
    "funding_rates": -11,
    "ml_models": -12,
}
"""Datasets that are looked at by their number, by their contracts' rules alone, and what stands for
each among the marks, where ticks have their shard. Lineage and these results are nobody's data."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run found. more: there are frames that it did not take."""

    number: int
    results: tuple[Result, ...]
    more: bool = False

    @property
    def errors(self) -> list[Result]:
        """The rules whose rows are wrong."""
        return [each for each in self.results if each.failed and each.rule.severity == "error"]

    @property
    def warnings(self) -> list[Result]:
        """The rules whose rows are unusual."""
        return [each for each in self.results if each.failed and each.rule.severity == "warning"]

    def line(self) -> str:
        """Return it in words."""
        return (
            f"run {self.number}: {len(self.results)} rules asked,"
            f" {len(self.errors)} broken, {len(self.warnings)} warnings"
        )


class RowsToQuality(Closes):
    """Runs the checks of one lakehouse; one thread uses it at a time. A context manager."""

    def __init__(
        self,
        dsn: str,
        warehouse: Warehouse,
        *,
        clock: Clock | None = None,
        rows_max: int = ROWS_MAX,
        wait_s: float = TURN_S_MAX,
        steps: Steps | None = None,
    ) -> None:
        self._dsn = dsn
        self._warehouse = warehouse
        self._clock = clock or SystemClock()
        self._rows_max = rows_max
        self._wait_s = wait_s
        self._steps = steps or Steps()
        self._suites = Suites()
        self._client = Client(dsn, warehouse)
        teach(self._client.duckdb)

    def close(self) -> None:
        """Close the connection of the readers."""
        self._client.close()

    def step(self, through: Through | None = None) -> Run:
        """Look at what is new, once; raises Unavailable while another run is at work.

        through: is told how far it is.
        """
        with (
            turn(self._dsn, DATASET, wait_s=self._wait_s) as lease,
            psycopg.connect(self._dsn, autocommit=True) as connection,
        ):
            self._client.refresh()
            held = marks(connection)
            upto, more = self._upto(connection, held)
            numbers, waits = self._numbers(connection, held)
            moved = {**upto, FLOW_SHARD: self._closed_us()}
            moved |= {NUMBERED_MARKS[dataset]: last for dataset, (_, last) in numbers.items()}
            look = self._look(connection)
            show = (through or Through()).span(held, upto, self._client.frames)
            results = [*self._of_frames(look, held, upto, within(show, 0, FRAMES_PART))]
            results += [*self._of_new_bars(look, held), *self._of_numbers(look, numbers)]
            results.append(look.market_result(stale_rule(self._clock.now_us())))
            run = self._recorded(connection, lease, results, moved, more or waits)
            show(1.0)
            return run

    def drain(self, show: ShowPart = nobody) -> list[Run]:
        """Take runs until nothing is left; at least one. show: is told how far it is."""
        through = Through(show)
        done = [self.step(through)]
        while done[-1].more:
            done.append(self.step(through))
        return done

    def again(self, first_us: int, last_us: int, show: ShowPart = nobody) -> Run:
        """Look at the rows of [first, last) microseconds, whenever they came; marks stay.

        show: is told how far it is.
        """
        if first_us >= last_us:
            raise WrongUse("quality", "--to is not after --from", "give a stretch of time")
        with (
            turn(self._dsn, DATASET, wait_s=self._wait_s) as lease,
            psycopg.connect(self._dsn, autocommit=True) as connection,
        ):
            self._client.refresh()
            look = self._look(connection)
            results: list[Result] = []
            for dataset in by_parts((*TICK_DATASETS, *BOOKS, BARS), show):
                contract = load(dataset)
                time = contract.partition_column or contract.ledger_time
                if time:
                    select = (
                        f"FROM {dataset} WHERE {time} >= from_us({first_us})"
                        f" AND {time} < from_us({last_us})"
                    )
                    results += look.results(Window(dataset, select))
            return self._recorded(connection, lease, results, {}, more=False)

    def _recorded(
        self,
        connection: psycopg.Connection,
        lease: Lease,
        results: list[Result],
        moved: Mapping[int, int],
        more: bool,
    ) -> Run:
        results += schema_results(self._client.duckdb, self._client.snapshots)
        self._steps.at("quality.looked")
        number = record(connection, lease, results, moved, self._clock.now_us(), self._steps)
        self._steps.at("quality.recorded")
        take_in_turn(self._dsn, self._warehouse, DATASET, lease, steps=self._steps)
        return Run(number, tuple(results), more)

    def _look(self, connection: psycopg.Connection) -> Look:
        return Look(self._client.duckdb, self._suites.judge, newest_models(connection))

    def _upto(
        self, connection: psycopg.Connection, held: Mapping[int, int]
    ) -> tuple[dict[int, int], bool]:
        """Return the frames to look through, and whether there are more."""
        upto: dict[int, int] = {}
        more = False
        for shard, last in self._client.frames.items():
            after = held.get(shard, 0)
            if after < last:
                upto[shard] = frame_within(connection, shard, after, last, rows_max=self._rows_max)
                more = more or upto[shard] < last
        return upto, more

    def _of_frames(
        self, look: Look, held: Mapping[int, int], upto: Mapping[int, int], show: ShowPart
    ) -> Iterator[Result]:
        for dataset in by_parts((*TICK_DATASETS, *BOOKS), show):
            if upto:
                yield from look.results(Window(dataset, _new(dataset, held, upto)))

    def _numbers(
        self, connection: psycopg.Connection, held: Mapping[int, int]
    ) -> tuple[dict[str, tuple[int, int]], bool]:
        """Return dataset -> numbers (after, upto] to look at, and whether there are more."""
        found: dict[str, tuple[int, int]] = {}
        more = False
        for dataset, mark in NUMBERED_MARKS.items():
            number, table = (sql.Identifier(each) for each in (NUMBERED_DATASETS[dataset], dataset))
            after = held.get(mark, 0)
            query = sql.SQL("SELECT max({}) FROM market.{}").format(number, table)
            row = connection.execute(query).fetchone()
            last = int(row[0]) if row and row[0] is not None else 0
            if after < last:
                found[dataset] = after, min(last, after + self._rows_max)
                more = more or found[dataset][1] < last
        return found, more

    def _of_numbers(self, look: Look, numbers: Mapping[str, tuple[int, int]]) -> Iterator[Result]:
        for dataset, (after, upto) in numbers.items():
            number = NUMBERED_DATASETS[dataset]
            select = f'FROM {dataset} WHERE "{number}" > {after} AND "{number}" <= {upto}'
            yield from look.results(Window(dataset, select))

    def _of_new_bars(self, look: Look, held: Mapping[int, int]) -> list[Result]:
        """Look at the bars that have closed since, and at minutes in which new trades lie."""
        select = new_bars(held.get(FLOW_SHARD, 0), self._closed_us(), look.touched())
        return look.results(Window(BARS, select))

    def _closed_us(self) -> int:
        snapshot = self._client.snapshots.get(BARS)
        return snapshot.closed_us if snapshot else 0


def new_bars(before_us: int, closed_us: int, touched: str) -> str:
    """Select the bars whose bucket closed in (before, closed] microseconds, and the touched ones.

    touched: selects ticker, exchange, market and event_time of minutes; longer bars are looked at
    when they close.
    """
    closed = " UNION ALL ".join(
        f"SELECT * FROM bars WHERE \"interval\" = '{name}'"
        f" AND event_time > from_us({before_us - width})"
        f" AND event_time <= from_us({closed_us - width})"
        for name, width in WIDTHS_US.items()
    )
    return (
        f"{closed} UNION ALL SELECT b.* FROM bars AS b SEMI JOIN ({touched}) AS t"
        " USING (ticker, exchange, market, event_time) WHERE b.\"interval\" = '1m'"
        f" AND b.event_time <= from_us({before_us - WIDTHS_US['1m']})"
    )


def _new(dataset: str, held: Mapping[int, int], upto: Mapping[int, int]) -> str:
    """Select the rows of frames beyond the marks; a statement a shard, so that bounds are used."""
    parts = [
        f"FROM {dataset} WHERE shard = {shard} AND seq > {last_seq(held.get(shard, 0))}"
        f" AND seq <= {last_seq(last)}"
        for shard, last in upto.items()
    ]
    return " UNION ALL ".join(parts)

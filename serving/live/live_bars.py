"""Bars of trades as they come, by the statements that make the lake's bars.

Trades wait until their minute is closed, many of them as pieces of bars of a second, which another
thread makes meanwhile; then the bars that they change are made by lake.bars of the bars held here,
as a run of the lake's own job makes them of its table. So a bar of here and one of there are equal
to the last bit, whatever the pieces in which trades came. A bar that is given out again says why: a
late tick has corrected it, or is the first of its bucket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from lake.bars.changes import COLUMN_LIST, KEY_LIST, Changes, Inputs, changes, prepare
from lake.bars.kernel import (
    DATASET,
    INTERVALS,
    MINUTE_US,
    WIDTHS_US,
    longer,
    seconds_of_trades,
    teach,
)
from lake.closes import Closes
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.feeds.plain import Plain
from lake.in_memory import ARROW_ROWS, in_memory
from serving.live.held_bars import ANEW_US, LATE_US, hold
from serving.live.pieces import TRADES_SCHEMA, between, first_us_of, one_table, since

FOLD_ROWS = 5_000
"""Trades from which on those that wait become pieces of bars of a second: some 10 ms of the other
thread then, instead of seconds when a busy minute closes."""

READY_US = 200_000
"""Time after a minute's end from which on its closing is made ready, so that it is there at once
when it is due. A trade that comes later has it made again."""

WAIT_S = 0.5

CLOSED, CORRECTED, LATE = "closed", "corrected", "late"
CHANGE = "change"
"""Column of what is given out: closed in its turn, corrected, or late: its bucket had no bar."""

PUBLISHED_SCHEMA = arrow_schema(load("crypto_aggregates"))
SCHEMA = arrow_schema(load(DATASET))


@dataclass(frozen=True, slots=True)
class BarStep:
    """What one closing gives: bars to put, with their change, and keys of bars that are no more.

    closed_us: every bucket before it is closed. beyond: trades that came too late for these bars.
    """

    closed_us: int
    put: pa.Table
    gone: pa.Table
    beyond: int


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a closing is made of, and what of it came too late."""

    held_us: int
    closed_us: int
    pieces: pa.Table
    published: pa.Table
    beyond: int


class LiveBars(Closes):
    """Bars of every interval; one thread uses it, and it has one of its own. A context manager.

    closed_us: every bucket before it is closed already, a whole minute of UTC microseconds; held:
    the bars there are by then, those of a day before it at least. Without them the first bars of a
    longer interval lack what came before the start.
    """

    def __init__(self, closed_us: int, held: pa.Table | None = None) -> None:
        self.closed_us = closed_us // MINUTE_US * MINUTE_US
        self._anew_us = self.closed_us
        self._waiting: list[pa.Table | Plain] = []
        self._waiting_rows = 0
        self._handed: list[Future[None]] = []
        self._pieces: list[pa.Table] = []
        self._published: list[pa.Table] = []  # these and the pieces are the thread's
        self.beyond = 0
        """Trades so far that came too late."""
        self._closing = ThreadPoolExecutor(1, "bars")
        self._ready: tuple[int, Future[tuple[BarStep, Changes]]] | None = None
        self._making: Future[tuple[BarStep, Changes]] | Future[None]
        self._making = self._holding = self._closing.submit(lambda: None)
        self._to_hold: tuple[pa.Table, pa.Table, int] | None = None
        self._folding, self._duck = _taught(), _taught()  # the thread's
        prepare(self._duck)
        self._duck.register("bars_held", held if held is not None else SCHEMA.empty_table())
        self._duck.execute(f"CREATE TEMP TABLE held AS SELECT {COLUMN_LIST} FROM bars_held")
        self._duck.unregister("bars_held")
        self._no_piece = self._folded(TRADES_SCHEMA.empty_table())

    def close(self) -> None:
        """Let go of the memory."""
        self._closing.shutdown(cancel_futures=True)
        self._folding.close()
        self._duck.close()

    def take(self, trades: pa.Table | Plain | None, published: pa.Table | None = None) -> None:
        """Take rows of crypto_trades, and of crypto_aggregates; each once, in any order."""
        if trades is not None and len(trades):
            self._waiting.append(trades)
            self._waiting_rows += len(trades)
            self._look_at_ready(first_us_of(trades))
            if self._waiting_rows >= FOLD_ROWS:
                self._hand_over()
        if published is not None and published.num_rows:
            rows = published.cast(PUBLISHED_SCHEMA)
            self._hold_later()
            self._closing.submit(self._published.append, rows)
            self._look_at_ready(first_us_of(rows))

    def prepare(self, closed_us: int, then: Callable[[BarStep], None]) -> None:
        """Begin to make what step() of this time returns if nothing before it comes meanwhile.

        then: is given it as soon as it is there, by the other thread. Where something came, it is
        made again; one at a time, so whoever likes may call this again and again. What the last
        step gave is held from here on, which is work: not to be called before that is told.
        """
        self._hold_later()
        is_made = self._ready is not None and self._ready[0] == closed_us
        if closed_us <= self.closed_us or is_made or not self._making.done():
            return
        self._hand_over()
        self._making = self._closing.submit(self._made, self.closed_us, closed_us, then)
        self._ready = closed_us, self._making

    def step(self, closed_us: int, meanwhile: Callable[[], None] | None = None) -> BarStep:
        """Close every bucket before a time, and correct those closed before.

        closed_us: microseconds since the epoch, taken down to a whole minute; never goes back.
        meanwhile: is called every WAIT_S while it is made.
        """
        closed_us = max(self.closed_us, closed_us // MINUTE_US * MINUTE_US)
        self._hold_later()
        self._holding.result()
        if self._ready is not None and self._ready[0] == closed_us:
            made = self._ready[1]
        else:
            self._hand_over()
            made = self._closing.submit(self._made, self.closed_us, closed_us)
        while meanwhile is not None and not wait([made], WAIT_S).done:
            meanwhile()
        step, found = made.result()
        for each in self._handed:
            each.result()  # what failed there is not to be missed here
        self._handed = []
        self._ready = None
        self.beyond += step.beyond
        self.closed_us = closed_us
        self._to_hold = found.put, found.drop, closed_us
        return step

    def forming(self) -> pa.Table:
        """Return the minute bars of trades whose minute is not closed yet, as they stand."""
        self._hand_over()
        return self._closing.submit(self._formed, self.closed_us).result()

    def _formed(self, closed_us: int) -> pa.Table:
        self._folding.register("pieces", since(self._pieces, closed_us) or self._no_piece)
        found = self._folding.execute(f"FROM ({longer('pieces', '1m')}) ORDER BY {KEY_LIST}")
        return found.to_arrow_table(ARROW_ROWS).cast(SCHEMA)

    def _look_at_ready(self, first_us: int) -> None:
        """Give up what is made ready where rows from this time on belong in it."""
        if self._ready is not None and first_us < self._ready[0]:
            self._ready = None

    def _hold_later(self) -> None:
        """Have what the last step gave held: not before whoever took it has told of it, and before
        pieces are made of what came after it.
        """
        if self._to_hold is not None:
            self._holding = self._closing.submit(self._hold, *self._to_hold)
            self._to_hold = None

    def _hand_over(self) -> None:
        """Have the thread make pieces of what waits."""
        self._hold_later()
        if self._waiting:
            self._handed.append(self._closing.submit(self._fold, self._waiting))
        self._waiting, self._waiting_rows = [], 0

    def _fold(self, trades: Sequence[pa.Table | Plain]) -> None:
        """Make pieces of trades: sums, firsts and lasts of pieces are those of their trades."""
        self._pieces.append(self._folded(one_table(trades)))

    def _folded(self, trades: pa.Table) -> pa.Table:
        self._folding.register("trades_now", trades)
        return self._folding.execute(seconds_of_trades("trades_now")).to_arrow_table(ARROW_ROWS)

    def _inputs(self, held_us: int, closed_us: int) -> _Inputs:
        """Return what there is before a time, without what is too late."""
        since_us = held_us - LATE_US
        pieces, late = between(self._pieces, self._no_piece, since_us, closed_us)
        nothing = PUBLISHED_SCHEMA.empty_table()
        published, too_late = between(self._published, nothing, since_us, closed_us)
        beyond = too_late.num_rows + int(pc.sum(late["trades"]).as_py() or 0)
        return _Inputs(held_us, closed_us, pieces, published, beyond)

    def _made(
        self, held_us: int, closed_us: int, then: Callable[[BarStep], None] | None = None
    ) -> tuple[BarStep, Changes]:
        """Return what closes; nothing is held by that yet. held_us: closed before."""
        found = self._closed_of(self._inputs(held_us, closed_us))
        if then is not None:
            then(found[0])
        return found

    def _closed_of(self, given: _Inputs) -> tuple[BarStep, Changes]:
        self._duck.register("published_due", given.published)
        self._duck.register("pieces_due", given.pieces)
        found = changes(
            self._duck,
            Inputs(
                trades="",
                published="FROM published_due" if given.published.num_rows else "",
                held="held",
                held_us=given.held_us,
                closed_us=given.closed_us,
                seconds="FROM pieces_due",
            ),
        )
        put = self._said(found.put, found.drop, given.held_us)
        gone = self._without(found.drop, found.put)
        return BarStep(given.closed_us, put, gone, given.beyond), found

    def _said(self, put: pa.Table, drop: pa.Table, held_us: int) -> pa.Table:
        """Add to each bar what it is; held_us: every bucket before it was closed before."""
        self._duck.register("bars_put", put)
        corrected = joined = ""
        if drop.num_rows:
            self._duck.register("bars_drop", drop)
            corrected = f" WHEN d.event_time IS NOT NULL THEN '{CORRECTED}'"
            joined = f" LEFT JOIN bars_drop AS d USING ({KEY_LIST})"
        widths = " ".join(f"WHEN '{name}' THEN {WIDTHS_US[name]}" for name in INTERVALS)
        ends = f'epoch_us(p.event_time) + CASE p."interval" {widths} END'
        return self._duck.execute(
            f"SELECT p.*, CASE{corrected}"
            f" WHEN {ends} <= {held_us} THEN '{LATE}' ELSE '{CLOSED}' END AS {CHANGE}"
            f" FROM bars_put AS p{joined} ORDER BY {_of('p')}"
        ).to_arrow_table(ARROW_ROWS)

    def _without(self, drop: pa.Table, put: pa.Table) -> pa.Table:
        """Return the keys of the dropped bars that are not put again."""
        if not drop.num_rows:
            return drop
        self._duck.register("bars_put", put)
        self._duck.register("bars_drop", drop)
        found = self._duck.execute(
            f"FROM bars_drop ANTI JOIN bars_put USING ({KEY_LIST}) ORDER BY {KEY_LIST}"
        ).to_arrow_table(ARROW_ROWS)
        return found.cast(drop.schema)

    def _hold(self, put: pa.Table, drop: pa.Table, closed_us: int) -> None:
        """Hold what changed; now and then let go of what is too old, by making the table anew."""
        for rows in (self._pieces, self._published):
            rows[:] = [each for each in (since(rows, closed_us),) if each is not None]
        is_anew = closed_us - self._anew_us >= ANEW_US
        if is_anew:
            self._anew_us = closed_us
        hold(self._duck, put, drop, closed_us if is_anew else None)
        pa.default_memory_pool().release_unused()  # what Arrow keeps for this thread


def _taught() -> duckdb.DuckDBPyConnection:
    connection = in_memory({"threads": 1})
    teach(connection)
    return connection


def _of(name: str) -> str:
    return ", ".join(f"{name}.{each.strip()}" for each in KEY_LIST.split(","))

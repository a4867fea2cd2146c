"""Bars of trades as they come, by the statements that make the lake's bars.

Trades wait until their minute is closed, many of them as pieces of bars of a second; then the bars
that they change are made by lake.bars of the bars held here, as a run of the lake's own job makes
them of its table. So a bar of here and one
of there are equal to the last bit, whatever the pieces in which trades came. A bar that is given
out again says why: a late tick has corrected it, or is the first of its bucket.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from lake.bars.changes import COLUMN_LIST, KEY_LIST, Inputs, changes, prepare
from lake.bars.kernel import (
    DATASET,
    DAY_US,
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

LATE_US = 3_600_000_000
"""A trade may be as late as this; the bars of what is later stay as they are, and are counted."""

KEPT_US = {
    "1s": LATE_US + MINUTE_US,
    "1m": LATE_US + WIDTHS_US["5m"],
    "5m": LATE_US + WIDTHS_US["1h"],
    "1h": LATE_US + DAY_US,
    "1d": LATE_US + DAY_US,
}
"""How long a bar is held: until no late trade can make the next longer one of it any more."""

ROWS_HELD_MAX = 5_000_000
"""Bars held; some 1,000 instruments that trade every second."""

FOLD_ROWS = 5_000
"""Trades from which on those that wait become pieces of bars of a second: some 4 ms then, instead
of seconds when a busy minute closes."""

CLOSED, CORRECTED, LATE = "closed", "corrected", "late"
CHANGE = "change"
"""Column of what is given out: closed in its turn, corrected, or late: its bucket had no bar."""

TRADES_SCHEMA = arrow_schema(load("crypto_trades"))
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


class LiveBars(Closes):
    """Bars of every interval; one thread uses it. A context manager.

    closed_us: every bucket before it is closed already, a whole minute of UTC microseconds; held:
    the bars there are by then, those of a day before it at least. Without them the first bars of a
    longer interval lack what came before the start.
    """

    def __init__(self, closed_us: int, held: pa.Table | None = None) -> None:
        self.closed_us = closed_us // MINUTE_US * MINUTE_US
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._published: list[pa.Table] = []
        self.beyond = 0
        """Trades so far that came too late."""
        self._duck = duckdb.connect(config={"threads": 1})
        self._duck.execute("SET TimeZone = 'UTC'")
        teach(self._duck)
        prepare(self._duck)
        self._duck.register("bars_held", held if held is not None else SCHEMA.empty_table())
        self._duck.execute(f"CREATE TEMP TABLE held AS SELECT {COLUMN_LIST} FROM bars_held")
        self._duck.unregister("bars_held")
        self._duck.register("trades_now", TRADES_SCHEMA.empty_table())
        self._duck.execute(f"CREATE TEMP TABLE pieces AS {seconds_of_trades('trades_now')}")

    def close(self) -> None:
        """Let go of the memory."""
        self._duck.close()

    def take(self, trades: pa.Table, published: pa.Table | None = None) -> None:
        """Take rows of crypto_trades, and of crypto_aggregates; each once, in any order."""
        if trades.num_rows:
            self._waiting.append(trades.cast(TRADES_SCHEMA))
            self._waiting_rows += trades.num_rows
            if self._waiting_rows >= FOLD_ROWS:
                self._fold()
        if published is not None and published.num_rows:
            self._published.append(published.cast(PUBLISHED_SCHEMA))

    def step(self, closed_us: int) -> BarStep:
        """Close every bucket before a time, and correct those closed before.

        closed_us: microseconds since the epoch, taken down to a whole minute; never goes back.
        """
        closed_us = max(self.closed_us, closed_us // MINUTE_US * MINUTE_US)
        self._fold()
        published, too_late = self._due(self._published, PUBLISHED_SCHEMA, closed_us)
        beyond = too_late + self._pieces_beyond()
        self.beyond += beyond
        self._duck.register("published_due", published)
        due = f"event_time < from_us({closed_us})"
        found = changes(
            self._duck,
            Inputs(
                "FROM trades_now",
                "FROM published_due",
                "held",
                self.closed_us,
                closed_us,
                seconds=f"FROM pieces WHERE {due} AND {self._in_time}",
            ),
        )
        self._duck.execute(f"CREATE OR REPLACE TEMP TABLE pieces AS FROM pieces WHERE NOT {due}")
        put = self._said(found.put, found.drop)
        self._hold(found.put, found.drop, closed_us)
        gone = self._without(found.drop, found.put)
        self.closed_us = closed_us
        return BarStep(closed_us, put, gone, beyond)

    def forming(self) -> pa.Table:
        """Return the minute bars of trades whose minute is not closed yet, as they stand."""
        self._fold()
        seconds = f"(FROM pieces WHERE event_time >= from_us({self.closed_us}))"
        found = self._duck.execute(f"FROM ({longer(seconds, '1m')}) ORDER BY {KEY_LIST}")
        return found.to_arrow_table().cast(SCHEMA)

    @property
    def _in_time(self) -> str:
        """Return the condition of pieces that are not too late."""
        return f"event_time >= from_us({self.closed_us - LATE_US})"

    def _fold(self) -> None:
        """Make pieces of what waits: sums, firsts and lasts of pieces are those of their trades."""
        if self._waiting:
            given = pa.concat_tables(self._waiting).combine_chunks()
            self._duck.register("trades_given", given)
            self._duck.execute(f"INSERT INTO pieces {seconds_of_trades('trades_given')}")
            self._duck.unregister("trades_given")
        self._waiting, self._waiting_rows = [], 0

    def _pieces_beyond(self) -> int:
        """Return how many trades are in pieces that are too late."""
        said = f"SELECT coalesce(sum(trades), 0) FROM pieces WHERE NOT {self._in_time}"
        row = self._duck.execute(said).fetchone()
        assert row is not None
        return int(row[0])

    def _due(
        self, waiting: list[pa.Table], schema: pa.Schema, closed_us: int
    ) -> tuple[pa.Table, int]:
        """Take out what is before a time; return it without what is too late, and how much is."""
        rows = _joined(waiting, schema)
        times = rows["event_time"].cast(pa.int64())
        is_due = pc.less(times, closed_us)
        waiting[:] = [rows.filter(pc.invert(is_due))] if rows.num_rows else []
        due = rows.filter(is_due)
        in_time = pc.greater_equal(due["event_time"].cast(pa.int64()), self.closed_us - LATE_US)
        kept = due.filter(in_time)
        return kept, due.num_rows - kept.num_rows

    def _said(self, put: pa.Table, drop: pa.Table) -> pa.Table:
        """Add to each bar what it is."""
        self._duck.register("bars_put", put)
        self._duck.register("bars_drop", drop)
        widths = " ".join(f"WHEN '{name}' THEN {WIDTHS_US[name]}" for name in INTERVALS)
        ends = f'epoch_us(p.event_time) + CASE p."interval" {widths} END'
        return self._duck.execute(
            f"SELECT p.*, CASE WHEN d.event_time IS NOT NULL THEN '{CORRECTED}'"
            f" WHEN {ends} <= {self.closed_us} THEN '{LATE}' ELSE '{CLOSED}' END AS {CHANGE}"
            f" FROM bars_put AS p LEFT JOIN bars_drop AS d USING ({KEY_LIST})"
            f" ORDER BY {_of('p')}"
        ).to_arrow_table()

    def _without(self, drop: pa.Table, put: pa.Table) -> pa.Table:
        """Return the keys of the dropped bars that are not put again."""
        self._duck.register("bars_put", put)
        self._duck.register("bars_drop", drop)
        return self._duck.execute(
            f"FROM bars_drop ANTI JOIN bars_put USING ({KEY_LIST}) ORDER BY {KEY_LIST}"
        ).to_arrow_table()

    def _hold(self, put: pa.Table, drop: pa.Table, closed_us: int) -> None:
        """Hold what changed; let go of what is too old, by making the table anew."""
        kept = " OR ".join(
            f"(\"interval\" = '{name}' AND epoch_us(event_time) >= {closed_us - kept_us})"
            for name, kept_us in KEPT_US.items()
        )
        self._duck.register("bars_put", put)
        self._duck.register("bars_drop", drop)
        self._duck.execute(
            f"CREATE OR REPLACE TEMP TABLE held AS SELECT {COLUMN_LIST} FROM"
            f" (FROM held ANTI JOIN bars_drop USING ({KEY_LIST}) UNION ALL FROM bars_put)"
            f" WHERE {kept} LIMIT {ROWS_HELD_MAX}"
        )


def _joined(parts: list[pa.Table], schema: pa.Schema) -> pa.Table:
    return pa.concat_tables(parts) if parts else schema.empty_table()


def _of(name: str) -> str:
    return ", ".join(f"{name}.{each.strip()}" for each in KEY_LIST.split(","))

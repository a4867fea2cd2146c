"""What new trades change in the bars: exactly those that they touch, in every interval.

The bars of a table are a function of two marks: the trades through a frame of each shard, and the
time before which every bucket is closed. From one pair of marks to a later one, this says which
bars go and which come. All of it is SQL over relations of one DuckDB connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import duckdb
import pyarrow as pa

from lake.bars.kernel import (
    COLUMNS,
    DATASET,
    INTERVALS,
    KEY,
    MINUTE_US,
    SERIES,
    TRADES,
    WIDTHS_US,
    is_published,
    longer,
    published,
    seconds_of_trades,
)
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.in_memory import ARROW_ROWS

COLUMN_LIST = ", ".join(f'"{name}"' for name in COLUMNS)
KEY_LIST = ", ".join(f'"{name}"' for name in KEY)
NOTHING = f"SELECT {COLUMN_LIST} FROM w_none"
"""No bars, of the table that prepare() makes."""

PLACE = "ticker, venue, market, at_us"
"""A bucket of one instrument at one venue: published bars give way to trades by these."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Relations to read from, and between which marks.

    trades, published: select the new rows of crypto_trades and crypto_aggregates, all of them
    before closed_us; held: the table's bars, closed before held_us. Both are whole minutes, in
    microseconds since the epoch, exclusive.
    anew: make the bars of [first, last) microseconds again, of `trades` and `published` alone.
    seconds: selects what kernel.seconds_of_trades made of further new trades, in any pieces.
    trades may be "" where there are seconds, published where there is nothing to select.
    """

    trades: str
    published: str
    held: str
    held_us: int
    closed_us: int
    anew: tuple[int, int] | None = None
    seconds: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """Bars to put, and the keys of those that go first; a bar that changes is in both."""

    put: pa.Table
    drop: pa.Table

    @property
    def any(self) -> bool:
        """Tell whether there is anything to publish."""
        return bool(self.put.num_rows or self.drop.num_rows)


def changes(connection: duckdb.DuckDBPyConnection, inputs: Inputs) -> Changes:
    """Return what changes; the connection knows the kernel's macros and is used by nobody else."""
    assert inputs.held_us % MINUTE_US == inputs.closed_us % MINUTE_US == 0
    assert inputs.trades or inputs.seconds
    work = _Work(connection, inputs)
    work.read()
    work.make_seconds_and_minutes()
    for finer, interval in list(pairwise(INTERVALS))[1:]:
        work.make_longer(finer, interval)
    return work.difference()


class _Work:
    """The temporary tables of one calculation, named w_*."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, inputs: Inputs) -> None:
        self._connection = connection
        self._in = inputs

    def read(self) -> None:
        """Take the new rows, the minutes they touch, and the bars that these minutes have."""
        inputs = self._in
        new = [seconds_of_trades(f"({inputs.trades})")] if inputs.trades else []
        made = [f"({inputs.seconds})"] if inputs.seconds else []
        self._table("w_new_seconds", " UNION ALL ".join([*new, *made]))
        of_venues = published(f"({inputs.published})") if inputs.published else NOTHING
        self._table("w_new_published", of_venues)
        minutes = [_places(name, MINUTE_US) for name in ("w_new_seconds", "w_new_published")]
        if inputs.anew is not None:
            minutes.append(_places(self._held_between("1s", "1m", *inputs.anew), MINUTE_US))
        self._table("w_touched_1m", " UNION ".join(minutes))
        span = self._span("w_touched_1m", MINUTE_US)
        self._table(
            "w_held",
            f"SELECT b.* FROM {self._held_between('1s', '1m', *span)} AS b"
            f" {_within('b', 'w_touched_1m', MINUTE_US)}",
        )

    def make_seconds_and_minutes(self) -> None:
        """Make the touched minutes anew: of trades, or else of what the venue published."""
        old = f"FROM w_held WHERE {self._in.anew is None}"
        self._table(
            "w_seconds",
            longer(
                f"(FROM w_new_seconds UNION ALL {old} AND \"interval\" = '1s'"
                f" AND source = '{TRADES}')",
                "1s",
            ),
        )
        self._table("w_trade_minutes", _places("w_seconds", MINUTE_US))
        kept = " OR ".join(f"(\"interval\" = '{i}' AND {is_published(i)})" for i in ("1s", "1m"))
        self._table(
            "w_published",
            f"SELECT p.* FROM (FROM w_new_published UNION ALL {old} AND ({kept})) AS p"
            f" {_without('p', 'w_trade_minutes', MINUTE_US)}"
            f" QUALIFY row_number() OVER (PARTITION BY {KEY_LIST}"
            " ORDER BY last_seq DESC, received_time DESC) = 1",
        )
        minutes = longer("w_seconds", "1m")
        if not self._is_any("w_published"):
            self._table("w_made", "FROM w_seconds")
            self._table("w_made_1m", minutes)
        else:
            said = "(FROM w_published WHERE \"interval\" = '{}')".format
            self._table("w_made", f"FROM w_seconds UNION ALL FROM {said('1s')}")
            self._table(
                "w_made_1m",
                f"FROM ({minutes}) UNION ALL FROM {said('1m')} UNION ALL"
                f" SELECT m.* FROM ({longer(said('1s'), '1m')}) AS m"
                f" ANTI JOIN {said('1m')} AS p USING ({', '.join(SERIES)}, event_time)",
            )
        self._connection.execute("INSERT INTO w_made FROM w_made_1m")

    def make_longer(self, finer: str, interval: str) -> None:
        """Make the touched and the newly closed buckets of an interval from the bars below."""
        inputs, width_us = self._in, WIDTHS_US[interval]
        touched = f"w_touched_{interval}"
        end = f"at_us + {width_us} <= {inputs.closed_us}"
        coarse = f"SELECT ticker, venue, market, at_us // {width_us} * {width_us} AS at_us"
        self._table(
            touched, f"SELECT DISTINCT * FROM ({coarse} FROM w_touched_{finer}) WHERE {end}"
        )
        closing = (inputs.held_us // width_us * width_us, inputs.closed_us // width_us * width_us)
        if inputs.held_us and closing[0] < closing[1]:
            places = _places(self._held_between(finer, finer, *closing), width_us)
            self._connection.execute(
                f"INSERT INTO {touched} SELECT * FROM ({places}) EXCEPT FROM {touched}"
            )
        span = self._span(touched, width_us)
        if not span[1]:  # so it is in most minutes, and the rest takes as long to plan without rows
            self._table(f"w_made_{interval}", NOTHING)
            return
        self._table(
            "w_finer",
            f"SELECT b.* FROM {self._held_between(finer, finer, *span)} AS b"
            f" {_within('b', touched, width_us)}"
            f" {_without('b', f'w_touched_{finer}', WIDTHS_US[finer])}"
            f" UNION ALL SELECT b.* FROM w_made_{finer} AS b {_within('b', touched, width_us)}",
        )
        self._table(f"w_made_{interval}", longer("w_finer", interval))
        self._connection.execute(f"INSERT INTO w_made FROM w_made_{interval}")
        self._connection.execute(
            f"INSERT INTO w_held SELECT b.* FROM {self._held_between(interval, interval, *span)}"
            f" AS b {_within('b', touched, width_us)}"
        )

    def difference(self) -> Changes:
        """Return what was made and is not held as it is, and what is held and was not made so."""
        schema = arrow_schema(load(DATASET))
        put = self._connection.execute(
            f"SELECT {COLUMN_LIST} FROM (FROM w_made EXCEPT FROM w_held) ORDER BY {KEY_LIST}"
        ).to_arrow_table(ARROW_ROWS)
        drop = self._connection.execute(
            f"SELECT {KEY_LIST} FROM (FROM w_held EXCEPT FROM w_made) ORDER BY {KEY_LIST}"
        ).to_arrow_table(ARROW_ROWS)
        keys = pa.schema([schema.field(name) for name in KEY])
        return Changes(put.cast(schema), drop.cast(keys))

    def _table(self, name: str, select: str) -> None:
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {select}")

    def _is_any(self, name: str) -> bool:
        return self._connection.execute(f"FROM {name} LIMIT 1").fetchone() is not None

    def _held_between(self, one: str, other: str, first_us: int, last_us: int) -> str:
        """Return the relation of the held bars of two intervals that start in [first, last)."""
        last_us = min(last_us, self._in.held_us)
        return (
            f"(SELECT {COLUMN_LIST} FROM {self._in.held} WHERE \"interval\" IN ('{one}', '{other}')"
            f" AND event_time >= from_us({first_us}) AND event_time < from_us({last_us}))"
            if first_us < last_us
            else f"({NOTHING})"
        )

    def _span(self, touched: str, width_us: int) -> tuple[int, int]:
        """Return [first, last) of the touched buckets, so that readers pass other files by; last is
        0 where there are none.
        """
        row = self._connection.execute(
            f"SELECT coalesce(min(at_us), 0), coalesce(max(at_us) + {width_us}, 0) FROM {touched}"
        ).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the empty relation that stands for bars where there can be none."""
    connection.register("bars_none", arrow_schema(load(DATASET)).empty_table())
    connection.execute("CREATE OR REPLACE TEMP TABLE w_none AS FROM bars_none")
    connection.unregister("bars_none")


def _places(relation: str, width_us: int) -> str:
    return (
        "SELECT DISTINCT ticker, venue_of(exchange) AS venue, market,"
        f" bucket_us(event_time, {width_us}) AS at_us FROM {relation}"
    )


def _within(name: str, touched: str, width_us: int) -> str:
    return f"SEMI JOIN {touched} ON {_same(name, touched, width_us)}"


def _without(name: str, touched: str, width_us: int) -> str:
    return f"ANTI JOIN {touched} ON {_same(name, touched, width_us)}"


def _same(name: str, touched: str, width_us: int) -> str:
    return (
        f"{name}.ticker = {touched}.ticker AND {name}.market = {touched}.market"
        f" AND venue_of({name}.exchange) = {touched}.venue"
        f" AND bucket_us({name}.event_time, {width_us}) = {touched}.at_us"
    )

"""Both sides of an import at once: compared by day and table, and asked the same question.

A consumer asks through `Consumer`, which reads from the side that the switch names at that moment:
a move counts from the next query on, either way.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg
import sqlglot
from sqlglot.errors import SqlglotError

from flows.old_tables_to_journal import Old
from flows.place import Place
from lake.clock import Clock, utc_from_us
from lake.errors import WrongUse
from lake.history.old_database import MEASURES, OldDay, OldTable, days_of, old_tables
from lake.hot.imports import DayCheck, side_of, write_checks
from lake.views.client import Client
from lake.views.old_names import with_old_names

Rows = list[tuple[Any, ...]]


def compare(old: Old, place: Place, clock: Clock) -> list[DayCheck]:
    """Hold both sides against each other by table and UTC day; note and return what was found.

    Market tables by rows and two exact sums, the others by rows (their day is the epoch's).
    """
    checks: list[DayCheck] = []
    with (
        psycopg.connect(place.dsn, autocommit=True) as connection,
        Client(place.dsn, place.warehouse) as client,
    ):
        for table in old_tables(old.dsn, old.schema):
            if table.is_market:
                checks += _days_compared(old, table, client)
            else:
                checks.append(_copy_compared(old, table, connection))
        write_checks(connection, old.name, checks, utc_from_us(clock.now_us()))
    return checks


def _days_compared(old: Old, table: OldTable, client: Client) -> list[DayCheck]:
    theirs = {each.day.date(): each for each in days_of(old.dsn, table)}
    a, b = MEASURES[table.name]
    origin = "source" if table.name == "market_sentiment" else "exchange"
    rows = client.polars(
        f'SELECT event_time::date AS day, count(*) AS n, sum("{a}")::varchar AS a,'
        f' sum("{b}")::varchar AS b FROM {table.name}'
        f" WHERE starts_with({origin}, '{old.name}:') GROUP BY 1"
    ).rows()
    ours = {row[0]: row[1:] for row in rows}
    return [
        _checked(table.name, day, theirs.get(day), ours.get(day, (0, "0", "0")))
        for day in sorted({*theirs, *ours})
    ]


def _checked(
    table: str, day: dt.date, theirs: OldDay | None, ours: tuple[int, str, str]
) -> DayCheck:
    old_rows, sums = (theirs.rows, (theirs.sum_a, theirs.sum_b)) if theirs else (0, ("0", "0"))
    said = []
    if old_rows != ours[0]:
        said.append(f"{old_rows:,} rows there, {ours[0]:,} here")
    for name, one, other in zip(MEASURES[table], sums, ours[1:], strict=True):
        if Decimal(one) != Decimal(other):
            said.append(f"sum of {name} {Decimal(one)} there, {Decimal(other).normalize():f} here")
    return DayCheck(table, day, old_rows, ours[0], not said, "; ".join(said))


def _copy_compared(old: Old, table: OldTable, connection: psycopg.Connection) -> DayCheck:
    """Compare a table that was copied as it is, by its rows."""
    epoch = dt.date(1970, 1, 1)
    with psycopg.connect(old.dsn) as there:
        counted = there.execute(f"SELECT count(*) FROM {table.place}").fetchone()
    theirs = int(counted[0]) if counted else 0
    place = f'"{old.name}_tables"."{table.name}"'
    known = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (place,)).fetchone()
    found = (
        connection.execute(f"SELECT count(*) FROM {place}").fetchone() if known == (True,) else None
    )
    ours = int(found[0]) if found else 0
    said = "" if ours == theirs else f"{theirs:,} rows there, {ours:,} here: import it again"
    return DayCheck(table.name, epoch, theirs, ours, ours == theirs, said)


@dataclass(frozen=True, slots=True)
class Shadow:
    """One question to both sides: whether the rows are the same, and how long each took."""

    query: str
    equal: bool
    old_rows: int
    new_rows: int
    old_ms: float
    new_ms: float
    said: str = ""

    def line(self) -> str:
        """Return it in words."""
        rows = f"{self.old_rows:,} rows there, {self.new_rows:,} here"
        times = f"{self.old_ms:.1f} ms there, {self.new_ms:.1f} ms here"
        return f"{'equal' if self.equal else 'NOT equal'}: {rows}; {times}{self.said}"


def shadow(old: Old, place: Place, query: str, clock: Clock) -> Shadow:
    """Ask both sides, compare the rows (in any order, unless the query orders them); note it.

    The query is in PostgreSQL's SQL; for our side it is put into DuckDB's.
    """
    there, old_ms = _timed(lambda: ask_old(old, query), clock)
    with closing(new_side(old, place)) as client:
        here, new_ms = _timed(lambda: ask_new(client, query), clock)
    one, other = _plain(there), _plain(here)
    if not _is_ordered(query):
        one, other = sorted(one), sorted(other)
    first = next(
        (i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None
    )
    said = "" if first is None else f"; first difference: {one[first]} there, {other[first]} here"
    found = Shadow(query, one == other, len(there), len(here), old_ms, new_ms, said)
    with psycopg.connect(place.dsn) as connection:
        connection.execute(
            "INSERT INTO market.shadow_runs (name, query, equal, old_rows, new_rows, old_ms,"
            " new_ms, ran_time) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (old.name, query, found.equal, found.old_rows, found.new_rows, old_ms, new_ms,
             utc_from_us(clock.now_us())),
        )  # fmt: skip
    return found


def ask_old(old: Old, query: str) -> Rows:
    """Return a query's rows from the earlier database; raises WrongUse."""
    try:
        with psycopg.connect(old.dsn, options=f"-c search_path={old.schema}") as connection:
            connection.read_only = True
            connection.execute("SET TIME ZONE 'UTC'")
            return connection.execute(query).fetchall()
    except psycopg.Error as error:
        raise WrongUse("query", str(error).strip().splitlines()[0], "correct it there") from error


def new_side(old: Old, place: Place) -> Client:
    """Return a client of ours in which the earlier tables have their names."""
    return with_old_names(Client(place.dsn, place.warehouse), old.name)


def ask_new(client: Client, query: str) -> Rows:
    """Return a query's rows from our side; raises WrongUse."""
    try:
        [translated] = sqlglot.transpile(query, read="postgres", write="duckdb")
    except (SqlglotError, ValueError) as error:
        raise WrongUse("query", str(error).splitlines()[0], "one statement, please") from error
    table = client.arrow(translated)
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


class Consumer:
    """Where a consumer reads from: the side that the switch names, asked anew for each query."""

    def __init__(self, old: Old, place: Place, consumer: str) -> None:
        self._old = old
        self._place = place
        self._consumer = consumer

    def side(self) -> str:
        """Return old or new."""
        with psycopg.connect(self._place.dsn) as connection:
            return side_of(connection, self._old.name, self._consumer)

    def rows(self, query: str) -> Rows:
        """Return a query's rows from the side that counts now."""
        if self.side() == "old":
            return ask_old(self._old, query)
        with closing(new_side(self._old, self._place)) as client:
            return ask_new(client, query)


def _timed(ask: Callable[[], Rows], clock: Clock) -> tuple[Rows, float]:
    start_us = clock.monotonic_us()
    rows = ask()
    return rows, (clock.monotonic_us() - start_us) / 1e3


def _is_ordered(query: str) -> bool:
    return "order by" in query.lower()


def _plain(rows: Rows) -> list[tuple[str, ...]]:
    """Return rows as text in which a value looks the same from both servers."""
    return [tuple(_text(value) for value in row) for row in rows]


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, Decimal | int | float):
        return f"{Decimal(str(value)).normalize():f}"
    if isinstance(value, dt.datetime):
        zoned = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        return zoned.astimezone(dt.UTC).isoformat()
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, default=str)
    return str(value) if isinstance(value, uuid.UUID | str) else repr(value)

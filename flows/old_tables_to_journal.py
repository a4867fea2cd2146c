"""Import an earlier database: market tables through the journal, any other table as it is.

A run takes day by day what is not yet taken; `follow` takes what has been written there since, so
that both sides hold the same for as long as both are in use. Both may be stopped and repeated: a
row is known by the key that it had there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain

import psycopg

from flows.place import Place
from lake.clock import Clock, utc_from_us
from lake.feeds.history import frames_of_rows
from lake.history.old_database import (
    DAY,
    OldTable,
    copy_as_it_is,
    days_of,
    old_tables,
    refused_between,
    rows_between,
)
from lake.hot.backfills import Progress, note, progress_of
from lake.hot.imports import begin, different_days, followed
from lake.ingest.deliver import Delivery, deliver
from lake.ingest.held import Held
from lake.ingest.parcels_to_journal import Parcel
from lake.parts import ShowPart, by_parts, nobody

OVERLAP = timedelta(minutes=10)
"""Rows may be written there so long after their event time and still be followed."""


@dataclass(frozen=True, slots=True)
class Old:
    """An earlier database: its address, the name its rows bear here, its schema."""

    dsn: str
    name: str = "rrr"
    schema: str = "public"


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one table; rows: of the earlier table, as they were read."""

    table: str
    how: str
    rows: int
    refused: int = 0

    def line(self) -> str:
        """Return it in words."""
        text = f"{self.table}: {self.rows:,} rows {self.how}"
        return f"{text}; {self.refused:,} refused (quarantined)" if self.refused else text


def import_all(old: Old, place: Place, clock: Clock) -> list[Imported]:
    """Take in every day of the market tables that is not in yet, and copy the other tables.

    Days in which the last comparison found a difference are taken in again.
    """
    now = utc_from_us(clock.now_us())
    with psycopg.connect(place.dsn, autocommit=True) as connection:
        begin(connection, old.name, now)
    tables = old_tables(old.dsn, old.schema)
    readings = []
    with psycopg.connect(place.dsn, autocommit=True) as connection:
        for table in (each for each in tables if each.is_market):
            known = progress_of(connection, f"import|{old.name}|{table.name}", 0)
            days = [each.day for each in days_of(old.dsn, table)]
            differ = different_days(connection, old.name, table.name)
            left = [
                (day, day + DAY)
                for day in days
                if _us(day) >= known.position or day.date() in differ
            ]
            readings.append(_Reading(old, table, left, known, connection, _us(_midnight(now))))
        _deliver(old, readings, place, clock)
    done = [each.imported("taken in") for each in readings]
    into = f"{old.name}_tables"
    for table in (each for each in tables if not each.is_market):
        rows = copy_as_it_is(old.dsn, place.dsn, table, into)
        done.append(Imported(table.name, f"copied as they are to {into}", rows))
    return done


def follow(old: Old, place: Place, clock: Clock, show: ShowPart = nobody) -> list[Imported]:
    """Take in what was written to the market tables since the last time, and OVERLAP again.

    show: is told how far it is.
    """
    now = utc_from_us(clock.now_us())
    with psycopg.connect(place.dsn, autocommit=True) as connection:
        begin(connection, old.name, now)
        row = connection.execute(
            "SELECT followed_upto, began_time FROM market.imports WHERE name = %s", (old.name,)
        ).fetchone()
        assert row is not None
        span = (row[0] or row[1]) - OVERLAP, now
        readings = [
            _Reading(old, table, [span], Progress("", 0), None, 0)
            for table in old_tables(old.dsn, old.schema)
            if table.is_market
        ]
        _deliver(old, readings, place, clock, show)
        followed(connection, old.name, now, now)
    return [each.imported("followed") for each in readings]


def _deliver(
    old: Old, readings: list[_Reading], place: Place, clock: Clock, show: ShowPart = nobody
) -> None:
    """Take all tables in by one delivery; nothing is started where there is nothing to take."""
    claims = [f"{old.name}.{each.table.name}|*" for each in readings]
    with closing(Held(place.dsn, place.warehouse)) as held:
        parcels = chain.from_iterable(each.parcels(held) for each in by_parts(readings, show))
        first = next(parcels, None)
        if first is not None:
            delivery = Delivery(place.settings.home, place.settings, clock, claims)
            deliver(chain([first], parcels), delivery)


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _us(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


class _Reading:
    """One table on its way in, span by span; connection: where its progress is noted, if at all.

    today_us: the day that is not over yet; progress stays before its end.
    """

    def __init__(
        self,
        old: Old,
        table: OldTable,
        spans: Sequence[tuple[datetime, datetime]],
        known: Progress,
        connection: psycopg.Connection | None,
        today_us: int,
    ) -> None:
        self.table = table
        self._old = old
        self._spans = spans
        self._connection = connection
        self._today_us = today_us
        self.progress = known
        self._given = known

    def imported(self, how: str) -> Imported:
        """Return what became of the table."""
        return Imported(self.table.name, how, self.progress.rows, self.progress.refused)

    def parcels(self, held: Held) -> Iterator[Parcel]:
        """Yield the rows of every span, its end noted when it is in."""
        dsn, table = self._old.dsn, self.table
        for first, last in self._spans:
            for rows in rows_between(dsn, table, self._old.name, first, last):
                kept, notes = held.split(table.name, rows, f"{self._old.name} {table.name}")
                self._given = replace(
                    self._given,
                    rows=self._given.rows + rows.num_rows,
                    contradicting=self._given.contradicting + rows.num_rows - kept.num_rows,
                )
                frames = [*frames_of_rows(table.name, kept), *notes]
                yield Parcel(frames, done=self._done(self._given, ended=False))
            refused = refused_between(dsn, table, first, last)
            self._given = replace(
                self._given,
                position=max(self._given.position, min(_us(last), self._today_us)),
                refused=self._given.refused + len(refused),
            )
            if refused or self._connection is not None:
                yield Parcel(refused, done=self._done(self._given, ended=True))

    def _done(self, now: Progress, *, ended: bool) -> Callable[[], None]:
        def done() -> None:
            self.progress = now
            if ended and self._connection is not None:
                note(self._connection, now)

        return done

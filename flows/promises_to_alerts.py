"""Measure what contracts promise, count the minute, and raise an alert for each promise broken.

Freshness is that of the union view: the newest event in hot; of bars, the time before which they
are closed; of a live feed, how long ago its ingest heard it, so that one that was killed is missed
beside others that bring the same dataset. Completeness is per feed, from the book of gaps. Quality
is each dataset's newest score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

import psycopg

from lake.clock import Clock, utc_from_us
from lake.contracts.contract import TICK_DATASETS, load
from lake.database import BY_RANGE, with_options
from lake.errors import TicklakeError, Unavailable
from lake.hot.alerts import clear_alert, raise_alert
from lake.hot.completeness import complete_shares
from lake.hot.freshness import newest_event
from lake.hot.promises import (
    FEED,
    FRESH_SHARE_GOAL,
    Measured,
    Month,
    Standing,
    months,
    note,
)
from lake.hot.scores import quality_scores
from lake.state import remedy
from lake.tables.catalog import open_catalog
from lake.tables.commit import faults_of
from lake.tables.names import CLOSED, NAMESPACE
from lake.warehouse import Warehouse

BARS = "bars"
FEED_S_MAX = 300.0
CONNECT_S_MAX = 5
Measures = Mapping[str, Callable[[], Iterable[Measured]]]

REMEDIES = {
    "freshness": "is its ingest running, is its venue up? see `ticklake status`; a feed that ended"
    " for good: `ticklake sla pause {thing}`",
    "completeness": "see feed_gaps, and fill them from the venue's history",
    "quality": "see quality_results for the rules that failed",
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is promised beside the contracts' freshness: least shares, 0 to 1, inclusive."""

    completeness: float
    quality: float


@dataclass(frozen=True, slots=True)
class Checked:
    """One look: how every promise stands, and those that are watched and broken."""

    standings: Sequence[Standing]
    broken: Sequence[Measured]

    def line(self) -> str:
        """Return it in words."""
        watched = sum(each.watched for each in self.standings)
        names = ", ".join(f"{each.promise} of {each.thing}" for each in self.broken)
        return f"{watched} promises watched, " + (f"broken: {names}" if names else "all kept")


def check(
    dsn: str,
    warehouse: Warehouse,
    clock: Clock,
    bounds: Bounds,
    unanswered: Iterable[datetime] = (),
    heard: Mapping[str, int] | None = None,
) -> Checked:
    """Measure every promise, write it down, raise and clear alerts.

    heard: live feed -> until when, in microseconds UTC (lake.ingest.report). unanswered: minutes
    in which this could not be done, as the hot tier was away. Raises Unavailable when it is.
    """
    try:
        with psycopg.connect(
            with_options(dsn, **BY_RANGE), autocommit=True, connect_timeout=CONNECT_S_MAX
        ) as connection:
            now = utc_from_us(clock.now_us())
            measures: Measures = {
                "freshness of ticks": lambda: _fresh_ticks(connection, now),
                "freshness of feeds": lambda: _fresh_feeds(heard or {}, now),
                "freshness of bars": lambda: _fresh_bars(dsn, warehouse, now),
                "completeness": lambda: _complete(connection, now, bounds),
                "quality": lambda: _good(connection, bounds),
            }
            found = [
                each
                for name, measure in measures.items()
                for each in _measured(connection, clock, name, measure)
            ]
            standings = note(connection, now, found, unanswered)
            broken = [each for each in standings if _is_broken(each, now)]
            for each in standings:
                _alert(connection, clock, each.measured, broken=each in broken)
            for month in months(connection, now.date()):
                _alert_month(connection, clock, month)
            return Checked(standings, [each.measured for each in broken])
    except psycopg.OperationalError as error:
        fault = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unavailable("hot tier", fault, remedy(fault, "is the server up?")) from error


def _measured(
    connection: psycopg.Connection,
    clock: Clock,
    name: str,
    measure: Callable[[], Iterable[Measured]],
) -> list[Measured]:
    """Return what is measured; what can't be is an alert, and keeps no other from being."""
    thing = f"measuring {name}"
    try:
        found = list(measure())
    except psycopg.OperationalError:
        raise
    except (TicklakeError, psycopg.Error) as error:
        fault = " ".join(str(error).split())
        raise_alert(connection, clock, thing, fault, "see the log of the flows")
        return []
    clear_alert(connection, thing)
    return found


def _complete(connection: psycopg.Connection, now: datetime, bounds: Bounds) -> Iterator[Measured]:
    for feed, share in complete_shares(connection, now).items():
        yield Measured(feed, "completeness", share, bounds.completeness)


def _good(connection: psycopg.Connection, bounds: Bounds) -> Iterator[Measured]:
    for dataset, score in quality_scores(connection).items():
        yield Measured(dataset, "quality", score, bounds.quality)


def _fresh_ticks(connection: psycopg.Connection, now: datetime) -> Iterator[Measured]:
    for dataset in TICK_DATASETS:
        minutes = load(dataset).freshness_minutes
        newest = newest_event(connection, dataset, now)
        if minutes is not None and newest is not None:
            age_s = max(0.0, (now - newest).total_seconds())
            yield Measured(dataset, "freshness", age_s, minutes * 60)


def _fresh_feeds(heard: Mapping[str, int], now: datetime) -> Iterator[Measured]:
    for feed, heard_us in heard.items():
        age_s = max(0.0, (now - utc_from_us(heard_us)).total_seconds())
        yield Measured(f"{FEED} {feed}", "freshness", age_s, FEED_S_MAX)


def _fresh_bars(dsn: str, warehouse: Warehouse, now: datetime) -> Iterator[Measured]:
    """Yield the freshness of bars, where there are any: a minute without trades is closed too."""
    minutes = load(BARS).freshness_minutes
    if minutes is None:
        return
    with closing(open_catalog(dsn, warehouse)) as catalog, faults_of(BARS):
        if not catalog.table_exists((NAMESPACE, BARS)):
            return
        closed_us = int(catalog.load_table((NAMESPACE, BARS)).properties.get(CLOSED, 0))
    if closed_us:
        age_s = max(0.0, (now - utc_from_us(closed_us)).total_seconds())
        yield Measured(BARS, "freshness", age_s, minutes * 60)


def _is_broken(standing: Standing, now: datetime) -> bool:
    """Tell whether a promise was measured just now, is watched, and is not kept."""
    return standing.watched and standing.checked_at == now and not standing.measured.met


def _alert(
    connection: psycopg.Connection, clock: Clock, measured: Measured, *, broken: bool
) -> None:
    name = f"{measured.promise} of {measured.thing}"
    if broken:
        remedy = REMEDIES[measured.promise].format(thing=measured.thing)
        raise_alert(connection, clock, name, measured.fault(), remedy)
    else:
        clear_alert(connection, name)


def _alert_month(connection: psycopg.Connection, clock: Clock, month: Month) -> None:
    """Say once a month that more of it was missed than the goal allows for all of it."""
    if month.promise != "freshness":
        return
    name = f"monthly freshness of {month.thing}"
    if month.used_up:
        fault = f"missed for more than {1 - FRESH_SHARE_GOAL:.1%} of {month.month:%Y-%m}"
        raise_alert(connection, clock, name, fault, "see `ticklake sla report`")
    else:
        clear_alert(connection, name)

"""Backfill a span of an instrument from its venue's REST history, and the gaps on record.

Pages go through the journal of whoever owns the instrument. What contradicts what is held goes to
quarantine with both versions; what is held already is known by its key. How far a span has come is
in `market.backfills`: a run that was stopped anywhere goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

import psycopg

from flows.place import Place
from lake.clock import Clock
from lake.errors import WrongUse
from lake.feeds.history import frames_of_rows
from lake.history.page import Page, Span, VenueHistory
from lake.history.venues import VENUES, VenueMarket, history_of
from lake.hot.backfills import Progress, forget, note, progress_of
from lake.ingest.deliver import Delivery, deliver
from lake.ingest.held import Held
from lake.ingest.parcels_to_journal import Parcel
from lake.ingest.status import Show

DATASETS: Mapping[str, str] = {"trades": "crypto_trades", "aggregates": "crypto_aggregates"}


@dataclass(frozen=True, slots=True)
class Ask:
    """What is wanted of which venue; open: up to now, so that a rerun goes on from the last."""

    where: VenueMarket
    span: Span
    open: bool = False

    @property
    def source(self) -> str:
        """Return its name among the backfills."""
        span = self.span
        place = f"{self.where.venue}|{self.where.market}|{span.ticker}|{span.dataset}"
        return f"history|{place}|{span.from_us}|{'now' if self.open else span.to_us}"


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one question; fault: why not all of it was answered."""

    ask: Ask
    progress: Progress
    fault: str = ""

    def line(self) -> str:
        """Return it in words."""
        done = self.progress
        span = self.ask.span
        parts = [f"{self.ask.where} {span.ticker} {span.dataset}: {done.rows:,} rows taken in"]
        if done.contradicting:
            parts.append(f"{done.contradicting:,} contradict what is held (quarantined)")
        if done.refused:
            parts.append(f"{done.refused:,} refused (quarantined)")
        return "; ".join([*parts, *([self.fault] if self.fault else [])])


@dataclass
class Teller:
    """Makes parcels of a venue's pages; `progress` is how far the journal has them."""

    ask: Ask
    history: VenueHistory
    held: Held
    progress: Progress
    noted: Callable[[Progress], None]
    given: Progress = field(init=False)

    def __post_init__(self) -> None:
        self.given = self.progress

    def parcels(self) -> Iterator[Parcel]:
        """Yield what is still to come, oldest first."""
        if self.progress.done:
            return
        span = replace(self.ask.span, from_us=self.progress.position)
        for page in self.history.pages(span):
            yield self._parcel(page)
        self.given = replace(self.given, position=self.ask.span.to_us, done=True)
        yield Parcel([], done=self._done(self.given))

    def _parcel(self, page: Page) -> Parcel:
        rows, notes = self.held.split(page.dataset, page.rows, str(self.ask.where))
        self.given = replace(
            self.given,
            position=page.through_us,
            rows=self.given.rows + rows.num_rows,
            contradicting=self.given.contradicting + page.rows.num_rows - rows.num_rows,
            refused=self.given.refused + len(page.refused),
        )
        frames = [*frames_of_rows(page.dataset, rows), *notes, *page.refused]
        return Parcel(frames, done=self._done(self.given))

    def _done(self, now: Progress) -> Callable[[], None]:
        def done() -> None:
            self.progress = now
            self.noted(now)

        return done


def backfill(
    ask: Ask, place: Place, clock: Clock, *, again: bool = False, show: Show | None = None
) -> Told:
    """Take in what a venue has of a span; again: ask for it anew though it was taken in before.

    Raises WrongUse, Refused, Unavailable, BadInput; what came before is in and stays.
    """
    with (
        closing(checked(ask, place, clock)) as history,
        psycopg.connect(place.dsn, autocommit=True) as connection,
        closing(Held(place.dsn, place.warehouse)) as held,
    ):
        if again:
            forget(connection, ask.source)
        known = progress_of(connection, ask.source, ask.span.from_us)
        if ask.open:
            known = replace(known, done=False)
        teller = Teller(ask, history, held, known, lambda now: note(connection, now))
        if not known.done:
            claims = [f"{history.feed(ask.where.market)}|{ask.span.ticker}"]
            settings = place.settings
            deliver(teller.parcels(), Delivery(settings.home, settings, clock, claims, None, show))
        return Told(ask, teller.progress)


def checked(ask: Ask, place: Place, clock: Clock) -> VenueHistory:
    """Return the venue's history if it can answer; raises WrongUse."""
    history = history_of(ask.where, place.settings, clock)
    history.feed(ask.where.market)
    if ask.span.from_us >= ask.span.to_us:
        raise WrongUse("span", "ends before it begins", "--from before --to")
    if ask.span.dataset not in history.datasets:
        raise WrongUse(
            f"{ask.where} {ask.span.dataset}",
            "is not in its history",
            f"it has {', '.join(history.datasets)}",
        )
    return history


def venues_of(dsn: str, ticker: str) -> list[VenueMarket]:
    """Return where a ticker is traded, of what is known of instruments and can be asked."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT DISTINCT split_part(venue, ':', 1), market FROM market.instruments"
            " WHERE ticker = %s ORDER BY 1, 2",
            (ticker,),
        ).fetchall()
    return [VenueMarket(venue, market) for venue, market in rows if venue in VENUES]

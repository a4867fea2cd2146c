"""Fill the gaps on record from the venues' histories; a gap that is filled says so in the book.

The rows go through the journal of whoever owns the instrument, the word that a gap is filled
through that of the shard whose gap it is: both are the same where nothing has moved meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

from flows.history_to_journal import Ask, Teller, Told
from flows.place import Place
from lake.clock import Clock
from lake.errors import TicklakeError
from lake.history.page import Span
from lake.history.venues import VENUES, VenueMarket, history_of, market_of_feed
from lake.hot.backfills import Progress
from lake.ingest.claim import is_owned, owner
from lake.ingest.control import GapFilled
from lake.ingest.deliver import Delivery, deliver
from lake.ingest.feed_gap import TIMES
from lake.ingest.held import Held
from lake.ingest.parcels_to_journal import Parcel
from lake.ingest.status import Show
from lake.parts import ShowPart, by_parts, each_within, nobody

GAPS_MAX = 500
"""Gaps of one feed and shard looked at in one run: the newest, so that old ones whose history can't
be had keep none of them waiting. The next run takes the others."""

MARGIN_US = 1_000_000
"""Asked on both sides of a gap: what was under way when it began or ended."""

AGE_US = 30_000_000
"""A gap is asked for this long after its end: histories lag behind sockets."""

DAYS_MAX = 90
"""Older gaps are left to a backfill by hand."""

_UNFILLED = """
SELECT gap_id, feed, connection, kind, ticker, gap_from, gap_to, first_missing, last_missing,
  detected_time, closed_time, filled, shard::int AS shard
FROM (
  SELECT now.*, row_number() OVER (PARTITION BY shard, feed ORDER BY gap_from DESC) AS newest FROM (
    SELECT DISTINCT ON (shard, gap_id) * FROM market.feed_gaps ORDER BY shard, gap_id, seq DESC
  ) AS now
  WHERE filled IS NULL AND gap_to IS NOT NULL
    AND gap_to < to_timestamp(%s) AND gap_from > to_timestamp(%s)
    AND split_part(feed, '.', 1) = ANY(%s)
) AS open WHERE newest <= %s
ORDER BY gap_from, gap_id
"""


@dataclass
class Gaps:
    """The gaps of one feed in one shard, and what became of them.

    filled: per gap, the datasets that are whole now; faults: gap_id -> why it stays open.
    """

    shard: int
    feed: str
    where: VenueMarket
    rows: list[dict[str, Any]] = field(default_factory=list)
    tickers: tuple[str, ...] = ()
    told: list[Told] = field(default_factory=list)
    filled: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)

    @property
    def claims(self) -> list[str]:
        """Return what filling them brings, as claims."""
        wanted = {each["ticker"] for each in self.rows if each["ticker"]}
        return [f"{self.feed}|{ticker}" for ticker in sorted(wanted.union(self.tickers))]

    def line(self) -> str:
        """Return it in words."""
        rows = sum(each.progress.rows for each in self.told)
        text = f"{self.feed}: {len(self.filled)} of {len(self.rows)} gaps filled, {rows:,} rows"
        faults = sorted(set(self.faults.values()))
        return "; ".join([text, *faults])


def fill_gaps(
    place: Place,
    clock: Clock,
    *,
    urls: Mapping[str, str] | None = None,
    show: Show | None = None,
    parts: ShowPart = nobody,
) -> list[Gaps]:
    """Fill what can be filled; return the gaps by feed and shard.

    urls: venue -> address to ask instead of its own. parts: is told how far it is. A gap whose
    history can't be had stays as it is, and its fault is said.
    """
    with psycopg.connect(place.dsn, autocommit=True) as connection:
        found = unfilled(connection, clock, urls or {})
        with closing(Held(place.dsn, place.warehouse)) as held:
            for gaps, part in each_within(found, parts):
                _fill(gaps, connection, held, place, clock, show, part)
    return found


def unfilled(connection: psycopg.Connection, clock: Clock, urls: Mapping[str, str]) -> list[Gaps]:
    """Return the gaps that have an end, are not filled, and whose venue tells of the past."""
    now_us = clock.now_us()
    bounds = ((now_us - AGE_US) / 1e6, now_us / 1e6 - DAYS_MAX * 86_400)
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_UNFILLED, (*bounds, list(VENUES), GAPS_MAX)).fetchall()
    groups: dict[tuple[int, str], Gaps] = {}
    for row in rows:
        where = market_of_feed(row["feed"])
        if where is None:
            continue
        key = row["shard"], row["feed"]
        if key not in groups:
            where = VenueMarket(where.venue, where.market, urls.get(where.venue, ""))
            tickers = _tickers(connection, row["shard"], row["feed"], where)
            groups[key] = Gaps(*key, where, tickers=tickers)
        groups[key].rows.append({name: _plain(name, value) for name, value in row.items()})
    return list(groups.values())


def _plain(name: str, value: Any) -> Any:
    """Return a value of a gap's row as its record has it: times in microseconds."""
    return int(value.timestamp() * 1e6) if name in TIMES and value is not None else value


def _tickers(
    connection: psycopg.Connection, shard: int, feed: str, where: VenueMarket
) -> tuple[str, ...]:
    """Return what a feed of a shard was about: its claims, else all that the venue has traded."""
    row = connection.execute(
        "SELECT claims FROM market.shards WHERE shard = %s", (shard,)
    ).fetchone()
    claims = [claim.split("|") for claim in (row[0] if row else [])]
    named = [ticker for name, ticker in claims if name == feed and ticker != "*"]
    if named:
        return tuple(named)
    rows = connection.execute(
        "SELECT DISTINCT ticker FROM market.instruments WHERE split_part(venue, ':', 1) = %s"
        " AND market = %s ORDER BY 1",
        (where.venue, where.market),
    ).fetchall()
    return tuple(ticker for (ticker,) in rows)


def _fill(
    gaps: Gaps,
    connection: psycopg.Connection,
    held: Held,
    place: Place,
    clock: Clock,
    show: Show | None,
    part: ShowPart,
) -> None:
    settings = place.settings
    at = owner(connection, gaps.claims)
    together = at == gaps.shard or (at is None and not is_owned(connection, gaps.shard))
    rows = _parcels(gaps, held, place, clock, part, together=together)
    shard = gaps.shard if together else at
    deliver(rows, Delivery(settings.home, settings, clock, gaps.claims, shard, show))
    if not together and gaps.filled:
        words = iter([Parcel([], [_word(gaps, *each, clock) for each in gaps.filled])])
        deliver(words, Delivery(settings.home, settings, clock, [], gaps.shard, show))


def _parcels(
    gaps: Gaps, held: Held, place: Place, clock: Clock, part: ShowPart, *, together: bool
) -> Iterator[Parcel]:
    """Yield every gap's rows, and with them, together, the word that it is filled."""
    for gap in by_parts(gaps.rows, part):
        try:
            with closing(history_of(gaps.where, place.settings, clock)) as history:
                for ask in _asks(gaps, gap, _datasets(gaps.feed, history.datasets)):
                    start = Progress(ask.source, ask.span.from_us)
                    teller = Teller(ask, history, held, start, lambda now: None)
                    yield from teller.parcels()
                    gaps.told.append(Told(ask, teller.given))
        except TicklakeError as error:
            gaps.faults[gap["gap_id"]] = str(error)
            continue
        gaps.filled.append((gap, ",".join(_datasets(gaps.feed, history.datasets))))
        if together:
            yield Parcel([], [_word(gaps, *gaps.filled[-1], clock)])


def _datasets(feed: str, datasets: Sequence[str]) -> list[str]:
    """Return what a feed gives live and its history has too: only Massive's socket has minutes."""
    return [name for name in datasets if name == "crypto_trades" or feed == "massive"]


def _asks(gaps: Gaps, gap: Mapping[str, Any], datasets: Sequence[str]) -> Iterator[Ask]:
    tickers = [gap["ticker"]] if gap["ticker"] else gaps.tickers
    start_us, end_us = gap["gap_from"] - MARGIN_US, gap["gap_to"] + MARGIN_US
    for ticker in tickers:
        for dataset in datasets:
            yield Ask(gaps.where, Span(dataset, ticker, gaps.where.market, start_us, end_us))


def _word(gaps: Gaps, gap: dict[str, Any], filled: str, clock: Clock) -> tuple[str, GapFilled]:
    row = {name: value for name, value in gap.items() if name != "shard"}
    return gaps.feed, GapFilled(row, filled, clock.now_us())

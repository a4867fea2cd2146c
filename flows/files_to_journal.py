"""Take files of history in, piece by piece, through the journal of whoever owns their tickers.

Years go in as minutes do: journal, lake, the same ledger and the same proof; days that are old do
so beside the hot tables (lake.ingest.staging). A file that was stopped goes on after the
last piece that the journal has. What is held already is known by its keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from flows.place import Place
from lake.clock import Clock
from lake.errors import BadInput
from lake.feeds.history import frames_of_rows
from lake.history.files import AGGREGATED, HistoryFile, Piece, open_file
from lake.hot.backfills import Progress, forget, note, progress_of
from lake.ingest.deliver import Delivery, deliver
from lake.ingest.held import Held
from lake.ingest.parcels_to_journal import Parcel
from lake.ingest.status import Show

OTHER_KIND: Mapping[str, str] = {
    "aggTrades": f"conditions IS DISTINCT FROM '{AGGREGATED}'",
    "trades": f"conditions = '{AGGREGATED}'",
}
"""Trades of one span are held one by one or added up, never both: their volume would double."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one file."""

    path: Path
    dataset: str
    progress: Progress

    def line(self) -> str:
        """Return it in words."""
        done = self.progress
        text = f"{self.path.name}: {done.rows:,} rows of {self.dataset} taken in"
        if done.contradicting:
            text += f"; {done.contradicting:,} contradict what is held (quarantined)"
        if done.refused:
            text += f"; {done.refused:,} can't be read (quarantined)"
        return text


def take_file(
    path: Path,
    given: Mapping[str, str],
    place: Place,
    clock: Clock,
    *,
    again: bool = False,
    show: Show | None = None,
) -> Taken:
    """Take one file in; given: constants by column for what the file does not say.

    Raises BadInput with the place, WrongUse, Unavailable; what came before is in and stays.
    """
    file = open_file(path, given)
    source = source_of(path, file, given)
    with (
        psycopg.connect(place.dsn, autocommit=True) as connection,
        closing(Held(place.dsn, place.warehouse)) as held,
    ):
        if again:
            forget(connection, source)
        known = progress_of(connection, source, 0)
        if known.done:
            return Taken(path, file.dataset, known)
        reading = _Reading(file, held, known, connection)
        delivery = Delivery(place.settings.home, place.settings, clock, claims_of(file), None, show)
        deliver(reading.parcels(), delivery)
    return Taken(path, file.dataset, reading.progress)


def source_of(path: Path, file: HistoryFile, given: Mapping[str, str]) -> str:
    """Return a file's name among the backfills: what it is called, holds, and was said to be.

    All of it is read for its checksum, at a small part of what taking it in costs.
    """
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    words = ",".join(f"{name}={value}" for name, value in sorted(given.items()))
    return f"file|{path.name}|{file.kind}|{words}|{digest}"


def claims_of(file: HistoryFile) -> list[str]:
    """Return what a file brings, as claims of a shard."""
    if "ticker" in file.given:
        return [_claim(file.given["exchange"], file.given["market"], file.given["ticker"])]
    names = ("source", "asset") if file.dataset == "market_sentiment" else PLACE
    found: set[tuple[str, ...]] = set()
    for piece in file.pieces(0):
        groups = piece.rows.select(names).group_by(list(names)).aggregate([])
        found.update(tuple(row[name] for name in names) for row in groups.to_pylist())
    if file.dataset == "market_sentiment":
        return sorted({f"sentiment|X:{asset}" for _, asset in found})
    return sorted({_claim(*row) for row in found})


PLACE = ("exchange", "market", "ticker")


def _claim(exchange: str, market: str, ticker: str) -> str:
    venue = exchange.partition(":")[0]
    feed = f"binance.{market}" if venue == "binance" else venue
    return f"{feed}|{ticker}"


class _Reading:
    """One file on its way in."""

    def __init__(
        self, file: HistoryFile, held: Held, known: Progress, connection: psycopg.Connection
    ) -> None:
        self._file = file
        self._held = held
        self._connection = connection
        self.progress = known
        self._given = known

    def parcels(self) -> Iterator[Parcel]:
        """Yield what is still to come."""
        for piece in self._file.pieces(self.progress.position):
            yield self._parcel(piece)
        self._given = replace(self._given, done=True)
        yield self._done([], self._given)

    def _parcel(self, piece: Piece) -> Parcel:
        rows = piece.rows
        self._check_kind(rows)
        kept, notes = self._held.split(self._file.dataset, rows, self._file.path.name)
        self._given = replace(
            self._given,
            position=piece.upto,
            rows=self._given.rows + kept.num_rows,
            contradicting=self._given.contradicting + rows.num_rows - kept.num_rows,
            refused=self._given.refused + len(piece.notes),
        )
        frames = [*frames_of_rows(self._file.dataset, kept), *notes, *piece.notes]
        return self._done(frames, self._given)

    def _check_kind(self, rows: pa.Table) -> None:
        other = OTHER_KIND.get(self._file.kind)
        if other and rows.num_rows and self._held.has_any(self._file.dataset, rows, other):
            first, last = (pc.min_max(rows["event_time"])[name].as_py() for name in ("min", "max"))
            how = "one by one" if self._file.kind == "aggTrades" else "added up"
            raise BadInput(
                str(self._file.path),
                f"trades between {first:%F %T} and {last:%F %T} are held {how} already",
                "take only one kind of a time",
            )

    def _done(self, frames: list[bytes], now: Progress) -> Parcel:
        def done() -> None:
            self.progress = now
            note(self._connection, now)

        return Parcel(frames, done=done)

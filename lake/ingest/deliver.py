"""Bring parcels in by the one way that there is: the journal of whoever owns their instruments.

Where an ingest that owns them runs, it gets them through its shard's inbox; where none does, this
process becomes their owner for the time being.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import psycopg

from lake.clock import Clock
from lake.errors import Damaged, Unavailable
from lake.feeds.history import FEED
from lake.ingest.claim import claims_of, covered, is_owned, owner
from lake.ingest.inbox import DAMAGED, inbox_of, post
from lake.ingest.parcels_to_journal import Parcel, ParcelsToJournal
from lake.ingest.request import IngestRequest
from lake.ingest.run import ingest
from lake.ingest.status import Show
from lake.journal.reader import JournalReader
from lake.roles import role_dsn
from lake.settings import Settings
from lake.state import postgres_dsn

LOOK_S = 0.05
OWNER_LOOK_S = 1.0
TAKEN_S_MAX = 600.0
"""Longest wait for an owner to take a parcel, or to write what it has taken."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where parcels go in; shard: the only one that will do, where there is one; feed: theirs."""

    home: Path
    settings: Settings
    clock: Clock
    claims: Sequence[str]
    shard: int | None = None
    show: Show | None = None
    feed: str = FEED


def deliver(parcels: Iterator[Parcel], by: Delivery) -> int:
    """Bring parcels in until they are in the hot tier; return the shard they went through.

    Raises what the parcels raise, what came before is in by then; Unavailable when the owner takes
    nothing in.
    """
    dsn = postgres_dsn(by.home)
    with psycopg.connect(dsn, autocommit=True) as connection:
        at = _owned(connection, by)
        while at is not None:
            left = _hand_over(connection, at, parcels, by)
            if left is None:
                _wait_until_written(connection, at, by)
                return at
            parcels = chain([left], parcels)
            at = _owned(connection, by)
    return _own(parcels, by)


def _owned(connection: psycopg.Connection, by: Delivery) -> int | None:
    if by.shard is not None:
        theirs = claims_of(connection, by.shard)
        if theirs is not None and not covered(by.claims, theirs):
            fault = f"its ingest takes in other tickers than {', '.join(by.claims)}"
            raise Unavailable(f"shard {by.shard}", fault, "stop that ingest, then run this again")
        return None if theirs is None else by.shard
    return owner(connection, by.claims)


def _own(parcels: Iterator[Parcel], by: Delivery) -> int:
    source = ParcelsToJournal(parcels, by.claims, by.feed)
    request = IngestRequest(
        feeds=(),
        speed="max",
        until_end=True,
        sources=(source,),
        shard=by.shard,
    )
    status = ingest(
        request,
        dsn=role_dsn(by.home, "ingest"),
        settings=by.settings,
        home=by.home.resolve(),
        show=by.show,
        clock=by.clock,
    )
    if not source.finished:
        raise Unavailable(
            f"feed {by.feed}", "stopped before its end", "run it again: it goes on from there"
        )
    return status.shard


def _hand_over(
    connection: psycopg.Connection, shard: int, parcels: Iterator[Parcel], by: Delivery
) -> Parcel | None:
    """Leave the parcels in the inbox, one at a time; return the one that the owner left there."""
    for parcel in parcels:
        path = post(inbox_of(by.home.resolve(), shard), parcel, by.claims, by.clock)
        try:
            taken = _is_taken(connection, shard, path, by)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        if not taken:
            return parcel
        parcel.done()
    return None


def _is_taken(connection: psycopg.Connection, shard: int, path: Path, by: Delivery) -> bool:
    """Wait until the owner has a parcel in its journal; False if it ends: then it is taken back."""
    start_us = looked_us = by.clock.monotonic_us()
    while path.exists():
        now_us = by.clock.monotonic_us()
        if now_us - looked_us > OWNER_LOOK_S * 1e6:
            looked_us = now_us
            if not is_owned(connection, shard):
                return not _taken_back(path)
        if now_us - start_us > TAKEN_S_MAX * 1e6:
            path.unlink(missing_ok=True)
            fault = f"took nothing from its inbox in {TAKEN_S_MAX:.0f} s"
            raise Unavailable(f"shard {shard}", fault, "see its ingest, then run this again")
        by.clock.sleep(LOOK_S)
    if (aside := path.with_suffix(DAMAGED)).exists():
        raise Damaged(str(aside), "could not be read by the shard's owner", "check the disk")
    return True


def _taken_back(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _wait_until_written(connection: psycopg.Connection, shard: int, by: Delivery) -> None:
    """Wait until the hot tier holds all that is durable in a shard's journal now."""
    reader = JournalReader(by.home.resolve() / "journal" / f"shard-{shard}", shard)
    try:
        durable = reader.durable()
    finally:
        reader.close()
    start_us = by.clock.monotonic_us()
    query = "SELECT last_frame FROM market.shards WHERE shard = %s"
    while by.clock.monotonic_us() - start_us < TAKEN_S_MAX * 1e6:
        row = connection.execute(query, (shard,)).fetchone()
        if row is not None and row[0] >= durable:
            return
        by.clock.sleep(LOOK_S)
    fault = f"did not write its journal in {TAKEN_S_MAX:.0f} s"
    raise Unavailable(f"shard {shard}", fault, "see `ticklake status`; nothing is lost")

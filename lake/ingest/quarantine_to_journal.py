"""Release a quarantined event: decide, take it in again through the journal, note where it is.

Each step may be the last: the decision is written before the frame, and the frame is looked for in
the journal before it is taken in. It goes through the shard that refused it, so that there is one
journal to look into, and the event comes in once: by the inbox of the ingest that owns the shard,
or where none does by this process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from lake.clock import Clock
from lake.errors import Unavailable, WrongUse
from lake.ingest.codecs import codecs
from lake.ingest.control import RELEASED_CONNECTION
from lake.ingest.deliver import Delivery, deliver
from lake.ingest.parcels_to_journal import Parcel
from lake.ingest.released import journalled, readable_event
from lake.quarantine.decisions import RELEASED, Decision, decide, decision_of, note_place
from lake.settings import Settings
from lake.views.client import Client
from lake.views.union_view import INDEX_BITS
from lake.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a released event: the decision, and rows of it that are stored, by dataset.

    No row: the event had come by another way already, and was counted as a duplicate.
    """

    decision: Decision
    rows: dict[str, int]


def release_event(
    dsn: str,
    warehouse: Warehouse,
    settings: Settings,
    thing: str,
    words: tuple[str, str],
    clock: Clock,
    *,
    correction: bytes | None = None,
) -> Outcome:
    """Release the event SHARD:SEQ; words: why, and who says so; correction: its bytes put right.

    Raises WrongUse where there is none or it was refused; BadInput where its codec refuses it
    still; Unavailable while an ingest owns the shard that has other tickers, or its ticker goes
    through another shard: the same call later goes on.
    """
    event = quarantined(dsn, warehouse, thing)
    raw = event["raw"] if correction is None else correction
    released = readable_event(codecs(), event["feed"], raw, thing, clock.now_us())
    shard = int(event["shard"])
    folder = settings.journal / f"shard-{shard}"
    with psycopg.connect(dsn) as connection:
        held = decide(connection, thing, RELEASED, *words, clock)
        frame = held.frame
        if frame is None:
            since_us = int(held.decided_time.timestamp() * 1_000_000)
            parcel = Parcel(
                [released.frame],
                feed=released.feed,
                connection=RELEASED_CONNECTION,
                since_us=since_us,
            )
            claims = released.claims()
            by = Delivery(settings.home, settings, clock, claims, shard, feed=released.feed)
            deliver(iter([parcel]), by)
            frame = journalled(folder, shard, released, since_us)
        if frame is None:
            raise Unavailable(thing, "did not reach the journal", "run the same command again")
        note_place(connection, thing, shard, frame)
        decision = decision_of(connection, thing)
    assert decision is not None
    return Outcome(decision, stored(dsn, warehouse, shard, frame))


def quarantined(dsn: str, warehouse: Warehouse, thing: str) -> dict[str, Any]:
    """Return the quarantined event SHARD:SEQ; raises WrongUse where there is none."""
    shard, _, seq = thing.partition(":")
    if not (shard.isdigit() and seq.isdigit()):
        raise WrongUse(thing, "names no event", "write SHARD:SEQ as `quarantine list` does")
    with Client(dsn, warehouse) as client:
        found = client.arrow(
            f"FROM quarantine WHERE shard = {int(shard)} AND seq = {int(seq)}"
        ).to_pylist()
    if not found:
        raise WrongUse(thing, "is not in quarantine", "see: ticklake quarantine list")
    return dict(found[0])


def stored(dsn: str, warehouse: Warehouse, shard: int, frame: int) -> dict[str, int]:
    """Return the rows that a frame gave, by dataset."""
    bounds = f"shard = {shard} AND seq >= {frame << INDEX_BITS} AND seq < {frame + 1 << INDEX_BITS}"
    datasets = ("crypto_trades", "crypto_quotes", "crypto_aggregates", "market_sentiment")
    with Client(dsn, warehouse) as client:
        counts = {
            dataset: client.arrow(f"SELECT count(*) AS n FROM {dataset} WHERE {bounds}")["n"][0]
            for dataset in datasets
        }
    return {dataset: count.as_py() for dataset, count in counts.items() if count.as_py()}

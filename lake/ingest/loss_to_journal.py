"""Write the loss of frames into the journal, where they stood, so that the shard can go on.

Frames were acknowledged, are not stored, and no copy of their segment exists. Their numbers must
stand for something, since frames are contiguous: the first of them becomes the record of the loss,
from which the mover writes a gap per feed of the shard, the others say only that they are lost.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg

from lake.clock import Clock
from lake.contracts.contract import TICK_DATASETS
from lake.errors import BadInput, Damaged, Unavailable
from lake.feeds.codec import INDEX_BITS
from lake.hot.batches import last_frames
from lake.ingest import control
from lake.journal import block
from lake.journal.held import Range, held, missing
from lake.journal.journal import lock
from lake.journal.reader import JournalReader
from lake.journal.stand_in import stand_in

BLOCK_FRAMES_MAX = 10_000

_FEEDS = """
SELECT feed FROM market.ingest_batches WHERE shard = %(shard)s
UNION SELECT split_part(claim, '|', 1)
  FROM market.shards, jsonb_array_elements_text(claims) AS claim WHERE shard = %(shard)s ORDER BY 1
"""

_BATCH = """
SELECT first_frame, extract(epoch FROM committed_time) * 1000000 FROM market.ingest_batches
WHERE shard = %s AND last_frame = %s LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Loss:
    """Frames first to last (inclusive) of a shard, gone; a gap of its feeds, times in UTC µs."""

    shard: int
    first: int
    last: int
    feeds: tuple[str, ...]
    from_us: int
    to_us: int


def accept_loss(connection: psycopg.Connection, journals: Path, clock: Clock) -> list[Loss]:
    """Record every frame that is journalled, not stored and in no segment; return what was lost.

    journals: the folder of the shards' folders. Raises Unavailable while an ingest holds one of
    them; BadInput where nothing says which feeds a shard had. Safe to call again.
    """
    stored = last_frames(connection)
    found = []
    for folder in sorted(journals.glob("shard-*")):
        shard = int(folder.name.removeprefix("shard-"))
        descriptor = lock(folder)
        try:
            found += _accept(connection, folder, shard, stored.get(shard, 0), clock)
        finally:
            os.close(descriptor)
    return found


def _accept(
    connection: psycopg.Connection, folder: Path, shard: int, stored: int, clock: Clock
) -> list[Loss]:
    with closing(JournalReader(folder, shard)) as reader:
        durable = reader.durable()
        gone = missing(held(folder, stored, durable, whole=True), stored, durable)
        feeds = _feeds(connection, shard) if gone else ()
        found = []
        for each in gone:
            after_us = _received_us(reader, each[1] + 1) if each[1] < durable else None
            to_us = after_us or clock.now_us()
            from_us = min(_last_before_us(connection, reader, each, to_us), to_us)
            loss = Loss(shard, *each, feeds, from_us, to_us)
            stand_in(folder, shard, list(_blocks(loss, clock.now_us())))
            found.append(loss)
    return found


def _feeds(connection: psycopg.Connection, shard: int) -> tuple[str, ...]:
    feeds = tuple(str(feed) for (feed,) in connection.execute(_FEEDS, {"shard": shard}))
    if not feeds:
        raise BadInput(
            f"shard {shard}",
            "nothing says which feeds its lost frames were of",
            "move its journal away; the next ingest begins anew",
        )
    return feeds


def _received_us(reader: JournalReader, frame: int) -> int | None:
    """Return when a frame came; None where it can't be read."""
    try:
        runs = reader.read(frame, frames_max=1, bytes_max=1)
    except (Damaged, Unavailable):
        return None
    return int(runs[0].frames.received_us[0]) if runs else None


def _last_before_us(
    connection: psycopg.Connection, reader: JournalReader, gone: Range, end_us: int
) -> int:
    """Return when the last that is there before a loss came, or earlier; end_us for a first one."""
    before = gone[0] - 1
    found = _received_us(reader, before) if before else None
    if found is not None:
        return found
    batch = connection.execute(_BATCH, (reader.shard, before)).fetchone()
    if batch is None:
        return end_us
    bounds = batch[0] << INDEX_BITS, gone[0] << INDEX_BITS
    rows = " UNION ALL ".join(
        f"SELECT received_time FROM market.{dataset} WHERE shard = {reader.shard}"
        f" AND seq >= {bounds[0]} AND seq < {bounds[1]}"
        for dataset in (*TICK_DATASETS, "quarantine")
    )
    row = connection.execute(
        f"SELECT max(extract(epoch FROM received_time) * 1000000) FROM ({rows}) AS r".encode()
    ).fetchone()
    return int(row[0]) if row is not None and row[0] is not None else int(batch[1])


def _blocks(loss: Loss, now_us: int) -> Iterator[bytes]:
    record = control.FramesLost(loss.first, loss.last, loss.feeds, loss.from_us, loss.to_us, now_us)
    feed = loss.feeds[0]
    yield _block(feed, loss.first, [control.dump(record)], now_us)
    rest = control.dump(control.FrameLost())
    for first in range(loss.first + 1, loss.last + 1, BLOCK_FRAMES_MAX):
        count = min(BLOCK_FRAMES_MAX, loss.last + 1 - first)
        yield _block(feed, first, [rest] * count, now_us)


def _block(feed: str, first: int, frames: Sequence[bytes], now_us: int) -> bytes:
    return block.encode(feed, block.KIND_CONTROL, 0, first, list(frames), [now_us] * len(frames))

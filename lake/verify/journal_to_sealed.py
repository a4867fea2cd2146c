"""Seal stretches of the journal and delete their segments (design 3.6 and 3.9).

A segment goes when it is old enough, every table of the lake holds its frames, and decoding it once
more gives exactly the ledger and the rows that were stored. What was proven is sealed with a digest
of its batches and ledger rows first; the file is deleted only after that is committed, and, where
backups are on, once no restore within the recovery window can need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import psycopg

from lake.clock import Clock
from lake.feeds.codec import Codec
from lake.ingest.hot_to_lake import LAKE_DATASETS
from lake.journal.due import due_segments
from lake.journal.held import held
from lake.journal.segment import Segment
from lake.verify.frames_check import prove_frames
from lake.verify.reading import Reading
from lake.warehouse import Warehouse

SEGMENTS_AT_ONCE_MAX = 32
"""Segments sealed in one call: about 2 GiB of journal."""

SEAL_LOCK = 0x7469636B_7365616C
"""Key of the advisory lock that lets one process at a time seal ("tickseal")."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A segment and what became of it: deleted, or the reason why it stays."""

    path: Path
    deleted: bool
    reason: str = ""


def seal_due(
    connection: psycopg.Connection,
    dsn: str,
    journal: Path,
    codecs: Mapping[str, Codec],
    clock: Clock,
    *,
    keep_hours: float,
    bytes_max: int | None = None,
    at_once_max: int = SEGMENTS_AT_ONCE_MAX,
    warehouse: Warehouse | None = None,
) -> list[Sealed]:
    """Seal and delete what is due in every shard's journal; the newest segment always stays.

    connection is in autocommit mode; journal is the folder of the shards' folders. bytes_max: a
    shard's budget, near whose end segments are due before their age. Does nothing while another
    process seals.
    """
    if connection.execute("SELECT pg_try_advisory_lock(%s)", (SEAL_LOCK,)).fetchone() != (True,):
        return []
    try:
        outcome: list[Sealed] = []
        for folder in sorted(journal.glob("shard-*")):
            shard = int(folder.name.removeprefix("shard-"))
            due = due_segments(folder, clock.now_us(), keep_hours=keep_hours, bytes_max=bytes_max)
            for segment, last_frame in islice(due, at_once_max):
                one = _seal(connection, (dsn, warehouse), shard, segment, last_frame, codecs)
                outcome.append(one)
                if not one.deleted:
                    break
        return outcome
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s)", (SEAL_LOCK,))


def _seal(
    connection: psycopg.Connection,
    place: tuple[str, Warehouse | None],
    shard: int,
    segment: Segment,
    last_frame: int,
    codecs: Mapping[str, Codec],
) -> Sealed:
    after = _sealed_upto(connection, shard)
    upto = _batch_end(connection, shard, last_frame)
    if upto is None:
        return Sealed(segment.path, False, "not yet in the hot tier")
    if after < last_frame:
        after = _held_from(segment.path.parent, after, last_frame)
        with Reading(*place) as reading:
            behind = _behind(connection, reading, shard, upto)
            if behind:
                return Sealed(segment.path, False, f"not yet in the lake: {', '.join(behind)}")
            faults = prove_frames(reading, segment.path.parent, shard, codecs, after, upto)
        if faults:
            return Sealed(segment.path, False, "; ".join(str(fault) for fault in faults[:3]))
        _write_seal(connection, shard, after, upto)
    kept = _kept_for_recovery(connection, shard, last_frame)
    if kept:
        return Sealed(segment.path, False, kept)
    segment.path.unlink()
    return Sealed(segment.path, True)


def _held_from(folder: Path, after: int, frame: int) -> int:
    """Return the frame before the unbroken stretch beyond `after` that ends with `frame`.

    Stored frames whose segment somebody took away can't be proven again: no seal covers them.
    """
    starts = [first for first, last in held(folder, after, frame) if last == frame]
    return starts[0] - 1 if starts else after


def _kept_for_recovery(connection: psycopg.Connection, shard: int, upto: int) -> str:
    """Return why a restore may still need frames through upto; "" when none can."""
    row = connection.execute(
        "SELECT coalesce(market.kept_for_recovery(%s::smallint, %s), '')", (shard, upto)
    ).fetchone()
    assert row is not None
    return str(row[0])


def _sealed_upto(connection: psycopg.Connection, shard: int) -> int:
    row = connection.execute(
        "SELECT coalesce(max(last_frame), 0) FROM market.sealed_segments WHERE shard = %s", (shard,)
    ).fetchone()
    assert row is not None
    return int(row[0])


def _batch_end(connection: psycopg.Connection, shard: int, frame: int) -> int | None:
    """Return the last frame of the batch that holds a frame; None if it is not written yet."""
    row = connection.execute(
        "SELECT min(last_frame) FROM market.ingest_batches WHERE shard = %s AND last_frame >= %s",
        (shard, frame),
    ).fetchone()
    return int(row[0]) if row is not None and row[0] is not None else None


def _behind(connection: psycopg.Connection, reading: Reading, shard: int, upto: int) -> list[str]:
    """Return the tables that lack rows of frames at or before upto."""
    lacking = []
    for dataset in LAKE_DATASETS:
        snapshot = reading.snapshot(dataset)
        held = snapshot.through.get(shard, 0) if snapshot else 0
        row = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM market.ledger_minutes"
            " WHERE (dataset = %(dataset)s OR %(dataset)s = 'ledger_minutes')"
            " AND shard = %(shard)s AND last_frame > %(held)s AND first_frame <= %(upto)s)",
            {"dataset": dataset, "shard": shard, "held": held, "upto": upto},
        ).fetchone()
        if row is not None and row[0]:
            lacking.append(dataset)
    return lacking


def _write_seal(connection: psycopg.Connection, shard: int, after: int, upto: int) -> None:
    within = {"shard": shard, "after": after, "upto": upto}
    connection.execute(
        "INSERT INTO market.sealed_segments"
        " (shard, first_frame, last_frame, frames, events, digest)"
        " SELECT %(shard)s, %(after)s + 1, %(upto)s, sum(b.frames), sum(b.events),"
        "  encode(sha256(convert_to(string_agg(b::text, E'\\n' ORDER BY b.first_frame, b.feed)"
        "   || E'\\n' || (SELECT coalesce(string_agg(l::text, E'\\n' ORDER BY l::text), '')"
        "    FROM market.ledger_minutes l WHERE l.shard = %(shard)s"
        "    AND l.first_frame > %(after)s AND l.last_frame <= %(upto)s), 'UTF8')), 'hex')"
        " FROM market.ingest_batches b WHERE b.shard = %(shard)s"
        " AND b.first_frame > %(after)s AND b.last_frame <= %(upto)s",
        within,
    )

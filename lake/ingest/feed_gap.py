"""Keep the book of gaps: opened and closed by control records, or by holes in trade ids.

A row of `feed_gaps` is never changed: a gap that closes is written again with its end, at a later
place of the journal, in the transaction of the batch that closes it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg.rows import dict_row

from lake.clock import utc_from_us
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.feeds.codec import INDEX_BITS
from lake.ingest.control import FramesLost, GapClosed, GapFilled, GapOpened
from lake.ingest.seen_ids import Hole

HOLES_PER_BATCH_MAX = 1_000
"""More holes than this in a batch are written as one row per instrument."""

OPEN_HOLES_MAX = 2_000
"""Holes watched for being filled; later ones stay open until a backfill closes them."""

NEW_HOLE_INDEX, FILLED_HOLE_INDEX = 0xFFFF, 0x7FFF
"""Where holes are numbered from, downwards, within the last frame of the batch that shows them or
has them filled: clear of each other, and of the control records' own places.
"""

TIMES = ("gap_from", "gap_to", "detected_time", "closed_time")

Row = dict[str, Any]

_OPEN = """
SELECT * FROM (
  SELECT DISTINCT ON (gap_id) * FROM market.feed_gaps WHERE shard = %s ORDER BY gap_id, seq DESC
) AS now WHERE closed_time IS NULL
"""


def open_gaps(connection: psycopg.Connection, shard: int) -> list[Row]:
    """Return a shard's gaps that are not closed, as the contract's rows, gap_id ascending."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_OPEN, (shard,)).fetchall()


class GapBook:
    """Collects one batch's changes to `feed_gaps`.

    gaps: the shard's open gaps. holes: those of them that are watched for being filled, as the
    shard's state has them: [gap_id, instrument, first, last] each.
    """

    def __init__(
        self,
        shard: int,
        gaps: Sequence[Mapping[str, Any]] = (),
        holes: Sequence[Sequence[Any]] = (),
    ) -> None:
        self._shard = shard
        self._open = {int(gap["gap_id"]): dict(gap) for gap in gaps}
        known = ((int(gap_id), Hole(*rest)) for gap_id, *rest in holes)
        self._holes = {gap_id: hole for gap_id, hole in known if gap_id in self._open}
        self._rows: list[Row] = []
        self._new: list[tuple[str, Hole, pa.Table]] = []
        self._batch_frame = 0
        self._now_us = 0

    def open_holes(self) -> list[list[Any]]:
        """Return the watched holes as the shard's state keeps them."""
        return [[gap_id, h.instrument, h.first, h.last] for gap_id, h in self._holes.items()]

    def start_batch(self, last_frame: int, now_us: int) -> None:
        """Begin a batch that ends with last_frame."""
        self._rows, self._new = [], []
        self._batch_frame, self._now_us = last_frame, now_us

    def opened(self, feed: str, seq: int, record: GapOpened) -> None:
        """Open a gap that the socket reader saw."""
        row = self._row(seq, feed, record.connection, record.reason, record.from_us)
        row["detected_time"] = utc_from_us(record.detected_us)
        self._open[seq] = row
        self._rows.append(row)

    def closed(self, seq: int, record: GapClosed) -> None:
        """Close a gap, which may have been opened in this batch or before.

        A session that ended inside a gap left it open. The gap of the session after it begins no
        later and covers it, so the two are closed as one.
        """
        last = self._open.get(record.gap_frame << INDEX_BITS)
        if last is None:
            return
        covered = [gap for gap in self._open.values() if _covers(last, gap)]
        for k, gap in enumerate(covered):
            times = {
                "gap_to": utc_from_us(record.to_us),
                "closed_time": utc_from_us(record.closed_us),
            }
            self._close(gap, seq + k, {**times, "filled": record.filled or None})

    def filled(self, seq: int, record: GapFilled) -> None:
        """Write that a backfill filled a gap: one of ours that is open, or one closed before."""
        gap_id = int(record.gap["gap_id"])
        self._holes.pop(gap_id, None)
        known = self._open.pop(gap_id, None) or {
            name: utc_from_us(value) if name in TIMES and value is not None else value
            for name, value in record.gap.items()
        }
        change = {"closed_time": utc_from_us(record.at_us), "filled": record.filled, "seq": seq}
        self._rows.append({**known, **change, "shard": self._shard})

    def lost(self, seq: int, record: FramesLost) -> None:
        """Write down what a journal lost for good: a gap of each feed, closed and never filled."""
        for k, feed in enumerate(record.feeds):
            change = {
                "gap_to": utc_from_us(record.to_us),
                "first_missing": str(record.first),
                "last_missing": str(record.last),
                "detected_time": utc_from_us(record.detected_us),
                "closed_time": utc_from_us(record.detected_us),
            }
            self._rows.append({**self._row(seq + k, feed, 0, "loss", record.from_us), **change})

    def hole(self, feed: str, hole: Hole, rows: pa.Table) -> None:
        """Note a jump in an instrument's trade ids; rows are the trades that showed it."""
        self._new.append((feed, hole, rows))

    def close_filled(self, covers: Callable[[Hole], bool]) -> None:
        """Close holes whose ids have all come, and write down the new ones that remain."""
        filled = [gap_id for gap_id, hole in self._holes.items() if covers(hole)]
        for k, gap_id in enumerate(filled):
            del self._holes[gap_id]
            change = {"closed_time": utc_from_us(self._now_us), "filled": "crypto_trades"}
            self._close(self._open[gap_id], self._place(FILLED_HOLE_INDEX - k), change)
        remaining = [each for each in self._new if not covers(each[1])]
        if len(remaining) > HOLES_PER_BATCH_MAX:
            remaining = _widest(remaining)
        for k, (feed, hole, rows) in enumerate(remaining):
            self._write_hole(self._place(NEW_HOLE_INDEX - k), feed, hole, rows)

    def rows(self) -> pa.Table:
        """Return the gaps as this batch has opened or closed them, seq ascending."""
        self._rows.sort(key=lambda row: int(row["seq"]))
        return pa.Table.from_pylist(self._rows, schema=arrow_schema(load("feed_gaps")))

    def _place(self, index: int) -> int:
        return (self._batch_frame << INDEX_BITS) | index

    def _close(self, gap: Row, seq: int, change: Row) -> None:
        del self._open[gap["gap_id"]]
        self._rows.append({**gap, **change, "seq": seq})

    def _write_hole(self, gap_id: int, feed: str, hole: Hole, rows: pa.Table) -> None:
        ticker = hole.instrument.rsplit("|", 1)[-1]
        times = {
            key: _time_of(rows, ticker, str(value))
            for key, value in (("from", hole.first - 1), ("to", hole.last + 1))
        }
        after = times["to"] or self._now_us
        row = {
            **self._row(gap_id, feed, 0, "id_hole", times["from"] or after),
            "ticker": ticker,
            "gap_to": utc_from_us(after),
            "first_missing": str(hole.first),
            "last_missing": str(hole.last),
            "detected_time": utc_from_us(self._now_us),
        }
        self._rows.append(row)
        if len(self._holes) < OPEN_HOLES_MAX:
            self._holes[gap_id] = hole
            self._open[gap_id] = row

    def _row(self, gap_id: int, feed: str, connection: int, kind: str, from_us: int) -> Row:
        return {
            "gap_id": gap_id,
            "feed": feed,
            "connection": connection,
            "kind": kind,
            "gap_from": utc_from_us(from_us),
            "shard": self._shard,
            "seq": gap_id,
        }


def _covers(last: Row, gap: Row) -> bool:
    """Tell whether a gap ends with `last`, the newest of its connection."""
    same = all(gap[name] == last[name] for name in ("feed", "connection"))
    within = gap["gap_id"] <= last["gap_id"] and gap["gap_from"] >= last["gap_from"]
    return same and within and gap["kind"] != "id_hole"


def _time_of(rows: pa.Table, ticker: str, trade_id: str) -> int | None:
    """Return the event time of a trade of these rows, in microseconds; None if it is not there."""
    match = pc.and_(pc.equal(rows["ticker"], ticker), pc.equal(rows["trade_id"], trade_id))
    found = rows["event_time"].filter(match)
    return int(found[0].value) if len(found) else None


def _widest(
    holes: list[tuple[str, Hole, pa.Table]],
) -> list[tuple[str, Hole, pa.Table]]:
    """Return one hole per instrument that spans all of its holes."""
    spans: defaultdict[str, list[tuple[str, Hole, pa.Table]]] = defaultdict(list)
    for each in holes:
        spans[each[1].instrument].append(each)
    return [
        (
            found[0][0],
            Hole(name, min(h.first for _, h, _ in found), max(h.last for _, h, _ in found)),
            found[0][2],
        )
        for name, found in spans.items()
    ]

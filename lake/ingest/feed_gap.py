"""Keep the book of gaps: opened and closed by control records, or by holes in trade ids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.feeds.codec import INDEX_BITS
from lake.ingest.control import GapClosed, GapOpened
from lake.ingest.seen_ids import Hole

HOLES_PER_BATCH_MAX = 1_000
"""More holes than this in a batch are written as one row per instrument."""

OPEN_HOLES_MAX = 2_000
"""Holes watched for being filled; later ones stay open until a backfill closes them."""


class GapBook:
    """Collects one batch's changes to `feed_gaps`.

    holes: the open id holes of the shard's state, [gap_id, instrument, first, last] each.
    """

    def __init__(self, shard: int, holes: list[list[Any]] | None = None) -> None:
        self._shard = shard
        self._open = {int(gap_id): Hole(*rest) for gap_id, *rest in holes or []}
        self._rows: list[dict[str, Any]] = []
        self._updates: list[str] = []
        self._new: list[tuple[str, Hole, pa.Table]] = []
        self._batch_frame = 0
        self._now_us = 0

    def open_holes(self) -> list[list[Any]]:
        """Return the open holes as the shard's state keeps them."""
        return [[gap_id, h.instrument, h.first, h.last] for gap_id, h in self._open.items()]

    def start_batch(self, last_frame: int, now_us: int) -> None:
        """Begin a batch that ends with last_frame."""
        self._rows, self._updates, self._new = [], [], []
        self._batch_frame, self._now_us = last_frame, now_us

    def opened(self, feed: str, seq: int, record: GapOpened) -> None:
        """Open a gap that the socket reader saw."""
        row = self._row(seq, feed, record.connection, record.reason, record.from_us)
        self._rows.append({**row, "detected_time": record.detected_us})

    def closed(self, record: GapClosed) -> None:
        """Close a gap, which may have been opened in this batch or before.

        A session that ended inside a gap left it open. The gap of the session after it begins no
        later and covers it, so the two are closed as one.
        """
        gap_id = record.gap_frame << INDEX_BITS
        filled = record.filled or None
        for row in self._rows:
            if row["gap_id"] == gap_id:
                row.update(gap_to=record.to_us, closed_time=record.closed_us, filled=filled)
        text = f"'{record.filled}'" if record.filled.replace(",", "").isidentifier() else "NULL"
        self._updates.append(
            f"UPDATE market.feed_gaps AS g SET gap_to = {_time(record.to_us)},"
            f" closed_time = {_time(record.closed_us)}, filled = {text}"
            " FROM market.feed_gaps AS last"
            f" WHERE last.shard = {self._shard} AND last.gap_id = {gap_id}"
            " AND g.shard = last.shard AND g.feed = last.feed AND g.connection = last.connection"
            " AND g.gap_id <= last.gap_id AND g.gap_from >= last.gap_from"
            " AND g.gap_to IS NULL AND g.kind <> 'id_hole'"
        )

    def hole(self, feed: str, hole: Hole, rows: pa.Table) -> None:
        """Note a jump in an instrument's trade ids; rows are the trades that showed it."""
        self._new.append((feed, hole, rows))

    def close_filled(self, covers: Callable[[Hole], bool]) -> None:
        """Close holes whose ids have all come, and write down the new ones that remain."""
        for gap_id in [known for known, hole in self._open.items() if covers(hole)]:
            del self._open[gap_id]
            self._updates.append(
                f"UPDATE market.feed_gaps SET closed_time = {_time(self._now_us)},"
                f" filled = 'crypto_trades' WHERE shard = {self._shard} AND gap_id = {gap_id}"
            )
        remaining = [each for each in self._new if not covers(each[1])]
        if len(remaining) > HOLES_PER_BATCH_MAX:
            remaining = _widest(remaining)
        for k, (feed, hole, rows) in enumerate(remaining):
            self._write_hole((self._batch_frame << INDEX_BITS) | (0xFFFF - k), feed, hole, rows)

    def opened_rows(self) -> pa.Table:
        """Return the gaps opened in this batch."""
        return pa.Table.from_pylist(self._rows, schema=arrow_schema(load("feed_gaps")))

    def updates(self) -> list[str]:
        """Return the statements that close gaps of earlier batches."""
        return self._updates

    def _write_hole(self, gap_id: int, feed: str, hole: Hole, rows: pa.Table) -> None:
        ticker = hole.instrument.rsplit("|", 1)[-1]
        times = {
            key: _time_of(rows, ticker, str(value))
            for key, value in (("from", hole.first - 1), ("to", hole.last + 1))
        }
        after = times["to"] or self._now_us
        row = self._row(gap_id, feed, 0, "id_hole", times["from"] or after)
        self._rows.append(
            {
                **row,
                "ticker": ticker,
                "gap_to": after,
                "first_missing": str(hole.first),
                "last_missing": str(hole.last),
                "detected_time": self._now_us,
            }
        )
        if len(self._open) < OPEN_HOLES_MAX:
            self._open[gap_id] = hole

    def _row(
        self, gap_id: int, feed: str, connection: int, kind: str, from_us: int
    ) -> dict[str, Any]:
        return {
            "gap_id": gap_id,
            "feed": feed,
            "connection": connection,
            "kind": kind,
            "gap_from": from_us,
            "shard": self._shard,
        }


def _time(us: int) -> str:
    """Return a timestamptz literal, exact to the microsecond."""
    return f"(timestamptz 'epoch' + {int(us)} * interval '1 microsecond')"


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

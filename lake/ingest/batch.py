"""Turn a stretch of journalled frames into what one hot transaction writes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from lake import ledger
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.feeds.codec import INDEX_BITS, Codec, Decoded, Frames
from lake.feeds.instrument_words import Told
from lake.in_memory import in_memory
from lake.ingest import control
from lake.ingest.feed_gap import GapBook
from lake.ingest.instrument_book import InstrumentBook
from lake.ingest.keyless import BLOCK_FRAMES, block_of
from lake.ingest.redelivery import Redelivery, Source, frame_index
from lake.journal.reader import Run

RECALL_BYTES_MAX = 64 << 20
"""Raw frames before a start's first that are kept at hand; of more, only hashes are."""

BOOKKEEPING = ("quarantine", "ingest_batches")


@dataclass
class FeedCount:
    """Events of one feed in one batch, by class."""

    frames: int = 0
    events: int = 0
    stored: int = 0
    quarantined: int = 0
    duplicate: int = 0
    ignored: Counter[str] = field(default_factory=Counter)

    def fates(self) -> dict[str, int]:
        """Return what became of the events, by class."""
        return {
            "stored": self.stored,
            "quarantined": self.quarantined,
            "duplicate": self.duplicate,
            "ignored": self.ignored.total(),
        }


@dataclass(frozen=True, slots=True)
class Built:
    """A batch: frames first_frame..last_frame (inclusive) as rows per table, its ledger apart."""

    first_frame: int
    last_frame: int
    tables: dict[str, pa.Table]
    events: int
    first_received_us: int
    fates: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Feed -> stored, quarantined, duplicate, ignored -> events."""


class BatchBuilder:
    """Decode, take each event once, count everything; deterministic over the journal.

    connections_up: feed -> connections that were up where this builder starts, in the order in
    which they came up.
    A builder whose batch was not committed is thrown away and made anew from the shard's state.
    """

    def __init__(
        self,
        shard: int,
        codecs: Mapping[str, Codec],
        redelivery: Redelivery,
        gaps: GapBook,
        instruments: InstrumentBook,
        connections_up: Mapping[str, Sequence[int]],
        *,
        epoch: int,
    ) -> None:
        self._shard = shard
        self._epoch = epoch
        self._codecs = codecs
        self._redelivery = redelivery
        self._gaps = gaps
        self._instruments = instruments
        self._told: list[Told] = []
        self._up = {feed: list(found) for feed, found in connections_up.items()}

    def state(self) -> dict[str, Any]:
        """Return what a restart needs: largest keys, connections up, holes still open."""
        return {
            "high": self._redelivery.high(),
            "up": self._up,
            "holes": self._gaps.open_holes(),
        }

    @property
    def is_full(self) -> bool:
        """Tell whether a trim is due."""
        return self._redelivery.is_full

    def trim(self) -> None:
        """Forget keys beyond the limits; call it only when every batch built is committed."""
        self._redelivery.trim()

    def recall(self, runs: Iterable[Run]) -> None:
        """Remember what was said in the last frames before those that build() gets.

        They are decoded only if another connection may say the same again, or if there are too many
        bytes of them to be kept at hand.
        """
        size = 0
        for run in runs:
            for frames in () if run.control else _by_block(run.frames):
                size += len(frames.payload)
                decoded = cache(partial(_tables, self._codecs[run.feed], frames))
                self._redelivery.recall(frames, decoded, at_hand=size <= RECALL_BYTES_MAX)

    def build(self, runs: Sequence[Run], now_us: int) -> Built:
        """Return the batch of these contiguous runs."""
        counts: defaultdict[str, FeedCount] = defaultdict(FeedCount)
        parts: defaultdict[str, list[pa.Table]] = defaultdict(list)
        self._told = []
        self._gaps.start_batch(runs[-1].frames.last_frame, now_us)
        for run in runs:
            count = counts[run.feed]
            count.frames += len(run.frames)
            if run.control:
                self._control(run, count)
            else:
                self._data(run, count, parts)
        self._gaps.close_filled(self._redelivery.covers)
        first, last = runs[0].frames.first_frame, runs[-1].frames.last_frame
        tables = {name: pa.concat_tables(found) for name, found in parts.items()}
        tables["ingest_batches"] = self._batch_rows(counts, first, last, now_us)
        tables["feed_gaps"] = self._gaps.rows()
        tables["instruments"] = self._instruments.rows(
            self._redelivery.traded(), self._told, last, now_us
        )
        events = sum(count.events for count in counts.values())
        received_us = min(int(run.frames.received_us.min()) for run in runs)
        fates = {feed: count.fates() for feed, count in counts.items()}
        return Built(first, last, tables, events, received_us, fates)

    def _control(self, run: Run, count: FeedCount) -> None:
        up = self._up.setdefault(run.feed, [])
        for i, raw in enumerate(run.frames):
            record = control.load(raw)
            seq = (run.frames.first_frame + i) << INDEX_BITS
            if isinstance(record, control.Started):
                up.clear()
            elif isinstance(record, control.Up):
                if record.connection not in up:
                    up.append(record.connection)
            elif isinstance(record, control.GapOpened):
                if record.connection in up:
                    up.remove(record.connection)
                self._gaps.opened(run.feed, seq, record)
            elif isinstance(record, control.GapFilled):
                self._gaps.filled(seq, record)
            elif isinstance(record, control.GapClosed):
                self._gaps.closed(seq, record)
            elif isinstance(record, control.FramesLost):
                self._gaps.lost(seq, record)
        count.events += len(run.frames)
        count.ignored["control"] += len(run.frames)

    def _data(self, run: Run, count: FeedCount, parts: dict[str, list[pa.Table]]) -> None:
        codec = self._codecs[run.feed]
        decoded = codec.decode(run.frames)
        count.events += decoded.events
        count.ignored.update(decoded.ignored)
        self._told += decoded.told
        count.quarantined += decoded.quarantine.num_rows
        if decoded.quarantine.num_rows:
            parts["quarantine"].append(decoded.quarantine)
        self._take(run, codec, decoded, count, parts)

    def _take(
        self,
        run: Run,
        codec: Codec,
        decoded: Decoded,
        count: FeedCount,
        parts: dict[str, list[pa.Table]],
    ) -> None:
        speaks = _speaks(run.frames, self._up.get(run.feed, []))
        blocks = block_of(run.frames.first_frame), block_of(run.frames.last_frame)
        for dataset, rows in decoded.tables.items():
            if not rows.num_rows:
                continue
            index = frame_index(rows, run.frames)
            source = Source(run.frames.connection[index], speaks[index], blocks)
            contiguous = codec.ids_contiguous and dataset == "crypto_trades"
            taken = self._redelivery.take(dataset, rows, source, contiguous=contiguous)
            count.stored += taken.rows.num_rows
            count.duplicate += taken.duplicates
            for hole in taken.holes:
                self._gaps.hole(run.feed, hole, taken.rows)
            if taken.rows.num_rows:
                parts[dataset].append(taken.rows)

    def _batch_rows(
        self, counts: Mapping[str, FeedCount], first: int, last: int, now_us: int
    ) -> pa.Table:
        rows = [
            {
                "shard": self._shard,
                "epoch": self._epoch,
                "first_frame": first,
                "last_frame": last,
                "feed": feed,
                "codec_version": self._codecs[feed].version,
                "frames": count.frames,
                "events": count.events,
                "stored": count.stored,
                "quarantined": count.quarantined,
                "duplicate": count.duplicate,
                "ignored": count.ignored.total(),
                "ignored_kinds": _kinds(count.ignored),
                "committed_time": now_us,
                "seq": last << INDEX_BITS,
            }
            for feed, count in sorted(counts.items())
        ]
        return pa.Table.from_pylist(rows, schema=arrow_schema(load("ingest_batches")))


class BatchLedger:
    """Counts built batches for `ledger_minutes`; one thread uses it at a time."""

    def __init__(self, shard: int) -> None:
        self._shard = shard
        self._duck = in_memory({"threads": 1})

    def rows(self, built: Built) -> pa.Table:
        """Return a batch's rows of `ledger_minutes`."""
        schema = arrow_schema(load("ledger_minutes"))
        totals = [
            ledger.batch_totals(self._duck, dataset, rows)
            for dataset, rows in built.tables.items()
            if dataset in ledger.MEASURES and rows.num_rows
        ]
        every = pa.concat_tables(totals)
        constants = {
            "shard": self._shard,
            "first_frame": built.first_frame,
            "last_frame": built.last_frame,
            "seq": built.last_frame << INDEX_BITS,
        }
        for name, value in constants.items():
            column = pa.array(np.full(every.num_rows, value), schema.field(name).type)
            every = every.append_column(name, column)
        return every.select(schema.names).cast(schema)


def _by_block(frames: Frames) -> Iterator[Frames]:
    """Yield a run's frames cut where blocks end."""
    at = 0
    while at < len(frames):
        block_end = (block_of(frames.first_frame + at) + 1) * BLOCK_FRAMES - frames.first_frame
        yield frames.slice(at, min(block_end, len(frames)))
        at = block_end


def _tables(codec: Codec, frames: Frames) -> Mapping[str, pa.Table]:
    return codec.decode(frames).tables


def _speaks(frames: Frames, up: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Tell per frame whether its connection speaks for the feed; history never does, what was
    released always.

    The connection that is up longest speaks until it ends. It is asked only about what has neither
    a key nor the exchange's time: where one takes over from another, that may come twice or not at
    all, beside a recorded gap.
    """
    if up:
        speaking = (up[0], control.RELEASED_CONNECTION)
        return np.asarray(np.isin(frames.connection, speaking))
    return np.asarray(frames.connection != control.HISTORY_CONNECTION)


def _kinds(ignored: Counter[str]) -> str | None:
    return orjson.dumps(dict(sorted(ignored.items()))).decode() if ignored else None

"""Move durable frames into the hot tier: decode, take once, count, write in one transaction.

Start-up is recovery: the shard's row says which frame was last written and what is known about
redelivery there; everything after it is read from the journal again. After any doubt about a
commit the same code runs: drop what is in memory, read the row, go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from lake.clock import Clock
from lake.contracts.contract import TICK_DATASETS
from lake.durations import StageTimes
from lake.errors import Damaged, Unavailable
from lake.feeds.codec import Codec
from lake.hot.hot_tier import LEDGER, HotBatch, HotTier
from lake.hot.lease import Lease
from lake.hot.partitions import ensure_partitions
from lake.hot.staged_files import BOOK
from lake.ingest.batch import BatchBuilder, BatchLedger, Built
from lake.ingest.feed_gap import GapBook, open_gaps
from lake.ingest.instrument_book import InstrumentBook, known_instruments
from lake.ingest.keyless import first_remembered
from lake.ingest.recent_batches import RecentBatches
from lake.ingest.redelivery import Redelivery, StoredKeys
from lake.ingest.staging import Stage, is_bulk, next_runs
from lake.journal.reader import JournalReader, Run
from lake.journal.segment import segments
from lake.state import remedy

FRAMES_MAX = 20_000
BYTES_MAX = 8 << 20
"""Frames and bytes of one micro-batch: about 60,000 events, 50 MB of Arrow."""

DAY_US = 86_400_000_000


AHEAD_FRAMES_MIN = 1_000
"""With so many frames waiting, the next batch is built while this one is written."""


@dataclass(frozen=True, slots=True)
class _Next:
    """A batch that is built, and what a restart after it needs to know.

    bulk: it is of history alone, of which old rows need not go through the hot tables.
    """

    built: Built
    state: Mapping[str, Any]
    ledger: Future[pa.Table]
    bulk: bool


@dataclass(frozen=True, slots=True)
class ShardState:
    """What the hot tier says of a shard."""

    last_frame: int
    state: Mapping[str, Any]


def load_shard(connection: psycopg.Connection, shard: int) -> ShardState:
    """Return the shard's state; the shard is made known if it is new."""
    with connection.transaction():
        connection.execute(
            "INSERT INTO market.shards (shard) VALUES (%s) ON CONFLICT DO NOTHING", (shard,)
        )
        row = connection.execute(
            "SELECT last_frame, trade_high FROM market.shards WHERE shard = %s", (shard,)
        ).fetchone()
        others = connection.execute(
            "SELECT trade_high -> 'high' FROM market.shards WHERE shard <> %s", (shard,)
        ).fetchall()
    assert row is not None
    last_frame, state = row
    return ShardState(last_frame, {**state, "high": _merged(state, [r[0] for r in others])})


def _merged(state: Mapping[str, Any], others: list[Any]) -> dict[str, dict[str, int]]:
    """Return the largest keys over all shards: an instrument may have moved between them."""
    merged: dict[str, dict[str, int]] = {}
    for high in [state.get("high"), *others]:
        for dataset, keys in (high or {}).items():
            into = merged.setdefault(dataset, {})
            for instrument, key in keys.items():
                into[instrument] = max(key, into.get(instrument, -1))
    return merged


class JournalToHot:
    """One shard's writer; step() is called again and again, by one thread."""

    def __init__(
        self,
        connection: psycopg.Connection,
        hot: HotTier,
        reader: JournalReader,
        codecs: Mapping[str, Codec],
        stores: StoredKeys,
        lease: Lease,
        clock: Clock,
        *,
        recent: RecentBatches | None = None,
        times: StageTimes | None = None,
        stage: Stage | None = None,
    ) -> None:
        self._bulk = stage
        self._connection = connection
        self._hot = hot
        self._reader = reader
        self._codecs = codecs
        self._stores = stores
        self._lease = lease
        self._clock = clock
        self._recent = recent
        self._stage = times.stage if times else lambda name: nullcontext()
        self._builder: BatchBuilder | None = None
        self._partitions: set[tuple[str, date]] = set()
        self._ahead: Future[_Next | None] | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="build-ahead")
        self._ledger = BatchLedger(reader.shard)
        self._counter = ThreadPoolExecutor(1, thread_name_prefix="count")
        self._idle_through = -1
        self.last_frame = 0

    def step(self) -> Built | None:
        """Write the next micro-batch; None when there is nothing durable beyond the last.

        Raises Fenced (end the process), Damaged (a broken journal), or Unavailable: then the
        outcome is unknown, and the next step starts from what the hot tier says.
        """
        if self._builder is None:
            if self._reader.durable() <= self._idle_through:
                return None
            self._recover()
        if self._builder is None:
            return None
        try:
            ahead, self._ahead = self._ahead, None
            following = ahead.result() if ahead is not None else self._build(self.last_frame)
            if following is None:
                return None
            built = following.built
            many = self._reader.durable() - built.last_frame >= AHEAD_FRAMES_MIN
            if many and not self._builder.is_full:
                self._ahead = self._worker.submit(self._build, built.last_frame)
            copied = self._write(following)
            if self._ahead is None:
                self._builder.trim()  # all that it knows is committed
        except BaseException:
            self._forget()
            raise
        if self._recent is not None:
            tables = {**copied, LEDGER: following.ledger.result()}
            self._recent.add(built.first_frame - 1, built.last_frame, tables)
        self.last_frame = built.last_frame
        return built

    def lag_frames(self) -> int:
        """Return how many durable frames are not written yet."""
        return max(0, self._reader.durable() - self.last_frame)

    def close(self) -> None:
        """Let the build ahead end, and the threads."""
        self._forget()
        self._worker.shutdown()
        self._counter.shutdown()

    def _build(self, after: int) -> _Next | None:
        """Build the batch that follows a frame; the builder belongs to whoever runs this."""
        assert self._builder is not None
        read = self._reader.read if self._bulk is None else partial(next_runs, self._reader)
        runs = read(after + 1, frames_max=FRAMES_MAX, bytes_max=BYTES_MAX)
        if not runs:
            return None
        bulk = self._bulk is not None and is_bulk(runs)
        with self._stage("build"):
            built = self._builder.build(runs, self._clock.now_us())
        counted = self._counter.submit(self._ledger.rows, built)
        return _Next(built, self._builder.state(), counted, bulk)

    def _forget(self) -> None:
        """Drop what is in memory: it is ahead of what is stored."""
        if self._ahead is not None:
            wait([self._ahead])
            self._ahead = None
        self._builder = None
        self._partitions.clear()  # one may have been dropped

    def _recover(self) -> None:
        try:
            found = load_shard(self._connection, self._reader.shard)
            gaps = open_gaps(self._connection, self._reader.shard)
            instruments = known_instruments(self._connection)
        except psycopg.Error as error:
            said = str(error).strip()
            raise Unavailable("hot tier", said, remedy(said, "is the server up?")) from error
        self.last_frame = found.last_frame
        if self._reader.durable() <= found.last_frame:
            # After a power cut the journal says what is durable only when it is opened again;
            # until then what the next frames are compared with can't be read.
            self._idle_through = found.last_frame
            return
        self._idle_through = -1
        self._builder = BatchBuilder(
            self._reader.shard,
            self._codecs,
            Redelivery(self._stores, found.state.get("high", {})),
            GapBook(self._reader.shard, gaps, found.state.get("holes", ())),
            InstrumentBook(self._reader.shard, instruments),
            found.state.get("up", {}),
            epoch=self._lease.epoch,
        )
        self._builder.recall(self._read_before(self.last_frame))

    def _read_before(self, last_frame: int) -> Iterator[Run]:
        """Yield the runs up to a frame, inclusive, that those after it are compared with.

        What can't be read is verify's to name.
        """
        kept = [each.first_frame for each in segments(self._reader.directory)]
        at = max(1, first_remembered(last_frame + 1), min(kept, default=last_frame + 1))
        with suppress(Damaged, Unavailable):
            while at <= last_frame and (
                runs := self._reader.read(at, frames_max=FRAMES_MAX, bytes_max=BYTES_MAX)
            ):
                at = runs[-1].frames.last_frame + 1
                within = [each for each in runs if each.frames.first_frame <= last_frame]
                yield from (_upto(each, last_frame) for each in within)

    def _write(self, following: _Next) -> dict[str, pa.Table]:
        """Write a batch; return the rows that hot tables have got."""
        built = following.built
        tables = self._staged(following) if following.bulk else built.tables
        for dataset in TICK_DATASETS:
            rows = tables.get(dataset)
            if rows is not None and rows.num_rows:
                self._ensure_partitions(dataset, rows)
        batch = HotBatch(
            self._reader.shard,
            built.first_frame - 1,
            built.last_frame,
            tables,
            following.ledger.result,
            following.state,
        )
        self._hot.write(batch, self._lease)
        return {name: rows for name, rows in tables.items() if name != BOOK}

    def _staged(self, following: _Next) -> dict[str, pa.Table]:
        assert self._bulk is not None
        shard, ledger = self._reader.shard, following.ledger.result
        try:
            with self._stage("stage"):
                return self._bulk.stage(self._connection, shard, following.built, ledger)
        except psycopg.Error as error:
            said = str(error).strip()
            raise Unavailable("hot tier", said, remedy(said, "is the server up?")) from error

    def _ensure_partitions(self, dataset: str, rows: pa.Table) -> None:
        try:
            ensure_partitions(self._connection, dataset, _days(rows), self._partitions)
        except psycopg.Error as error:
            said = str(error).strip()
            raise Unavailable("hot tier", said, remedy(said, "is the server up?")) from error


def _upto(run: Run, last_frame: int) -> Run:
    count = last_frame + 1 - run.frames.first_frame
    return replace(run, frames=run.frames.slice(0, min(len(run.frames), count)))


def _days(rows: pa.Table) -> list[date]:
    """Return the UTC days of the rows' event_time."""
    bounds = pc.min_max(rows["event_time"].cast(pa.int64()))
    low, high = bounds["min"].as_py() // DAY_US, bounds["max"].as_py() // DAY_US
    days = {low, high}
    if high - low > 1:
        days = set(pc.unique(pc.divide(rows["event_time"].cast(pa.int64()), DAY_US)).to_pylist())
    return [datetime.fromtimestamp(day * DAY_US / 1e6, UTC).date() for day in sorted(days)]

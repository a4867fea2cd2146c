"""From a shard's stream to bars, features and latest values, for as long as the turn lasts.

One round: take entries, decode them, each event once, put the latest prices, and at the end of a
minute close bars and make features. What comes of an entry is written together with its
acknowledgement. A worker that takes over begins with the bars of the lake and the frames of the
journal since, so it knows what the one before knew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import pyarrow as pa
from redis.client import Pipeline

from feature_repo.feature_set import FeatureSet
from lake.bars.kernel import MINUTE_US
from lake.clock import Clock
from lake.closes import Closes
from lake.feeds.codec import Frames
from serving.live.degraded import Degraded
from serving.live.live_bars import READY_US, BarStep, LiveBars
from serving.live.live_features import LiveFeatures
from serving.live.newest import Newest, exchanges_of
from serving.live.once import QUOTES, TRADES, Once, merged_runs
from serving.live.put_latest import put_latest
from serving.live.seed import Seed
from serving.streams import keys
from serving.streams.keys import Place
from serving.streams.reader import Delivered, ShardReader, last_frames

ENTRIES_AT_ONCE = 200
WAIT_MS = 20
"""Entries of one round, and how long it waits for the first."""

GRACE_US = 1_000_000
"""Time after a minute's end at which it is closed: as the lake's job has it by default."""

AFTER_ROUNDS = 3
"""Rounds after a close in which what nobody waits for is done: models have spoken by then."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round brought. place: the last entry of it, on whose frames all of this rests.

    prices, quotes, sentiment: the newest of each instrument or asset among its rows, as newest()
    has them. bars, features: of the minutes that closed, with `change` and `degraded` columns; None
    where none did. drops: frames that were left out before these, whole entries that were lost
    included, as one each. frames: the last frame of each epoch among them: once those are durable,
    all are.
    """

    place: Place
    received_us: int
    prices: Sequence[Mapping[str, Any]] = ()
    quotes: Sequence[Mapping[str, Any]] = ()
    sentiment: Sequence[Mapping[str, Any]] = ()
    bars: pa.Table | None = None
    gone: pa.Table | None = None
    features: pa.Table | None = None
    dropped: int = 0
    frames: tuple[Place, ...] = ()


class Effects(Protocol):
    """What is made of a round, added to the transaction that acknowledges it."""

    def __call__(self, pipe: Pipeline, given: Round) -> None:
        """Add commands; what they do is done once."""


class Worker(Closes):
    """One shard's; one thread uses it. A context manager.

    seed: the lake's bars. Some frames through its mark are given to recall(), those since then to
    catch_up(), before the first round(). beforehand: is given bars, bars that are gone and features
    of a round to come, in another thread; the round has the same objects, or others. afterwards:
    what follows a close's effects AFTER_ROUNDS later, in a transaction of its own.
    """

    def __init__(
        self,
        reader: ShardReader,
        once: Once,
        feature_set: FeatureSet,
        clock: Clock,
        *,
        seed: Seed,
        grace_us: int = GRACE_US,
        effects: Effects | None = None,
        beforehand: Callable[[pa.Table, pa.Table, pa.Table], None] | None = None,
        afterwards: Callable[[Pipeline], None] | None = None,
    ) -> None:
        self._reader = reader
        self._once = once
        self._set = feature_set
        self._clock = clock
        self._grace_us = grace_us
        self._effects = effects
        self._beforehand = beforehand
        self._afterwards = afterwards
        self._rounds_left = 0
        self._ready: tuple[BarStep, int, tuple[pa.Table, pa.Table, pa.Table]] | None = None
        self._through = seed.through
        self._seed_us = seed.closed_us
        self.bars = LiveBars(seed.closed_us, seed.held)
        self.bars.take(seed.waiting)
        self.features = LiveFeatures(feature_set, seed.windows)
        self.degraded = Degraded()
        self._received_us = seed.closed_us
        self._last_frame = seed.through

    def close(self) -> None:
        """Let go of the memory."""
        self.bars.close()

    def figures(self) -> dict[str, Any]:
        """Return what became of entries and frames so far, and when the newest was received."""
        said = {**asdict(self._reader.counts), "drops": dict(self.degraded.drops)}
        return {**said, "received_us": self._received_us}

    def recall(self, runs: Iterable[tuple[str, Frames]]) -> None:
        """Take frames that are in the bars already: what they said is known when it comes again."""
        for run in runs:
            self._once.take([run])

    def catch_up(self, runs: Iterable[tuple[str, Frames]], unheard: int = 0) -> None:
        """Take the journal's frames since the seed that are applied, without any effect.

        unheard: frames through this one are taken too, since the stream lacks some of them.
        runs: as of journal_runs, from the seed's frame on. What is not applied is left: it
        comes through the stream; the entry applied last is read from there, too, since its id
        says its first frame alone. What an epoch published and its journal lost is void. What an
        earlier worker knew when it last gave out bars is closed here, and not given out again; what
        it took after that waits here, too, since nobody has heard of it.
        """
        closed_us, closing = self._reader.closed()
        is_closed = False
        for feed, frames in self._again(runs, unheard):
            known = max(0, min(len(frames), closing + 1 - frames.first_frame))
            if known:
                self._take([(feed, frames.slice(0, known))])
            if known < len(frames):
                if not is_closed:
                    self.features.take(self.bars.step(closed_us))
                    is_closed = True
                self._take([(feed, frames.slice(known, len(frames)))])
        if not is_closed:
            self.features.take(self.bars.step(closed_us))

    def _again(
        self, runs: Iterable[tuple[str, Frames]], unheard: int
    ) -> Iterator[tuple[str, Frames]]:
        """Yield what is applied: of the journal, then of the stream, with its drops noted."""
        applied = self._reader.applied
        upto = max(applied.frame, unheard + 1)
        for feed, frames in runs:
            known = frames.slice(0, min(len(frames), max(0, upto - frames.first_frame)))
            self._reader.renew_if_due()
            if len(known):
                yield feed, known
                self._through = max(self._through, known.last_frame)
        at = self._reader.begin(self._through)
        while again := self._reader.since(at, ENTRIES_AT_ONCE):
            self._reader.renew_if_due()
            self._note_drops(again, self._received_us)
            yield from self._runs(again)
            at = again[-1].place

    def round(self, wait_ms: int = WAIT_MS) -> Round | None:
        """Work on what comes next; None where nothing came and no minute closed.

        Raises redis.RedisError and Fenced, as the reader does; then this worker is of no more use.
        """
        found = self._round(wait_ms)
        if found is not None and found.bars is not None:
            self._rounds_left = AFTER_ROUNDS
        elif self._rounds_left == 1:
            self._do_afterwards()
        else:
            self._rounds_left = max(0, self._rounds_left - 1)
        return found

    def _do_afterwards(self) -> None:
        """Do what a close left for later, and give back what Arrow keeps for this thread: a day of
        closes leaves holes of a hundred MiB.
        """
        if self._afterwards is not None:
            self._reader.done((), self._afterwards)
        pa.default_memory_pool().release_unused()
        self._rounds_left = 0

    def _round(self, wait_ms: int) -> Round | None:
        delivered = self._reader.take(ENTRIES_AT_ONCE, wait_ms)
        before_us = self._received_us
        said = self._take(self._runs(delivered)) if delivered else Newest()
        dropped = self._note_drops(delivered, before_us)
        bars = gone = features = None
        now_us = self._clock.now_us()
        closed_us = (now_us - self._grace_us) // MINUTE_US * MINUTE_US
        if closed_us > self.bars.closed_us:
            bars, gone, features = self._closed(closed_us)
        else:
            ready_us = (now_us - READY_US) // MINUTE_US * MINUTE_US
            self.bars.prepare(ready_us, self._prepare)
        if not delivered and bars is None:
            return None
        place = delivered[-1].place if delivered else self._reader.applied
        rows = said.rows(TRADES), said.rows(QUOTES), said.rows("market_sentiment")
        frames = last_frames(delivered)
        found = Round(place, self._received_us, *rows, bars, gone, features, dropped, frames)
        self._write(delivered, found)
        return found

    def _closed(self, closed_us: int) -> tuple[pa.Table, pa.Table, pa.Table]:
        """Close what is due; return bars, bars that are gone, and features."""
        if self._rounds_left:
            self._do_afterwards()
        step = self.bars.step(closed_us, self._reader.renew_if_due)
        rows = self.features.take(step)
        ready, self._ready = self._ready, None
        if ready is not None and ready[0] is step and ready[1] == self.degraded.version:
            return ready[2]
        return self._marked(step), step.gone, self._marked_features(rows)

    def _prepare(self, step: BarStep) -> None:
        """Make ready what a step brings, in the bars' thread; marks are as of what is known now."""
        version = self.degraded.version
        rows = self.features.prepare(step)
        found = self._marked(step), step.gone, self._marked_features(rows)
        if self._beforehand is not None:
            self._beforehand(*found)
        self._ready = step, version, found

    def _write(self, delivered: Sequence[Delivered], found: Round) -> None:
        def effects(pipe: Pipeline) -> None:
            now_us = self._clock.now_us()
            put_latest(pipe, found.prices, found.sentiment, delivered, now_us)
            if found.bars is not None:
                closed = keys.closed(self._reader.group, self._reader.shard)
                pipe.set(closed, f"{self.bars.closed_us} {self._last_frame}")
            if self._effects is not None:
                self._effects(pipe, found)

        self._reader.done(delivered, effects)

    def _runs(self, delivered: Sequence[Delivered]) -> list[tuple[str, Frames]]:
        return merged_runs(
            (each.entry.feed, run.after(self._through))
            for each in delivered
            for run in each.entry.runs(self._reader.shard)
            if run.last_frame > self._through
        )

    def _take(self, runs: Sequence[tuple[str, Frames]]) -> Newest:
        """Take what the runs hold; return what is newest of it."""
        found = Newest()
        for feed, frames in runs:
            rows = self._once.soon(feed, frames)
            self._received_us = max(self._received_us, int(frames.received_us.max()))
            self._last_frame = frames.last_frame
            trades = rows.plain.get(TRADES, rows.tables.get(TRADES))
            self.bars.take(trades, rows.tables.get("crypto_aggregates"))
            for name, each in (*rows.plain.items(), *rows.tables.items()):
                found.take(name, each)
                self.degraded.heard(feed, exchanges_of(each))
        return found

    def _note_drops(self, delivered: Sequence[Delivered], heard_us: int) -> int:
        """Note what is missing before entries; heard_us: when the last before them was received."""
        count = 0
        for each in delivered:
            for drop in each.entry.drops:
                if drop.last_frame <= self._through:
                    continue  # seed or journal had them
                if drop.first_frame <= self._through:
                    drop = replace(drop, from_us=max(drop.from_us, self._seed_us))
                self.degraded.note(drop)
                count += drop.count
            if each.lost:
                times = each.entry.received_us
                to_us = max(heard_us, int(times.max())) if len(times) else heard_us
                self.degraded.lost(heard_us, to_us)
                count += each.lost
        return count

    def _marked(self, step: BarStep) -> pa.Table:
        bad = self.degraded.of_bars(step.put)
        return step.put.append_column("degraded", pa.array(bad))

    def _marked_features(self, rows: pa.Table) -> pa.Table:
        """Add to each row the names of the features that are degraded, as a list."""
        if not self.degraded.any:
            none = pa.array([[]] * rows.num_rows, pa.list_(pa.string()))
            return rows.append_column("degraded", none)
        return rows.append_column("degraded", self.features.degraded(rows, self.degraded))

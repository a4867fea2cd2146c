"""One shard's session as it happens: frames of the stream, words of here, orders in the ledger.

What is decided waits until the frames that it rests on are on the disk, and goes to the ledger by
the one connection that holds the accounts' turn. A fault of any kind ends this object; a new one
plays the session again from its journal and its log, comes to the same orders, and goes on. Orders
that the ledger does not have by then are not made on prices of long ago: what is late is noted as
late, and nothing is ordered until the session has caught up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Literal

import numpy as np
import pyarrow as pa

from lake.bars.kernel import MINUTE_US
from lake.closes import Closes
from lake.errors import Fenced, Unavailable
from lake.feeds.codec import Frames
from serving.live.once import merged_runs
from serving.session.commands_to_ledger import CommandsToLedger
from serving.session.forsaking import take_back
from serving.session.minutes import GRACE_US
from serving.session.opening import LATE_US, Opened
from serving.session.outs_to_commands import Commands
from serving.session.parts import Follow, Parts
from serving.session.session import Out
from serving.session.words import Kind, Word, joined
from serving.streams import keys
from serving.streams.durable_watch import DurableWatch
from serving.streams.keys import Place
from serving.streams.reader import Delivered, ShardReader

ENTRIES_AT_ONCE = 200
WAIT_MS = 20
"""Entries of one turn, and how long it waits for the first."""

DURABLE_MS = 5
"""How long a turn waits for the disk instead, where commands wait for it and no frames came."""

ON_TIME_US = 1_000_000
"""A session is late from a lag of LATE_US on, and on time again below this; by the machine's clock
against the time of receipt."""

FILL_S_MAX = 1.0
"""How long frames that the stream lacks are waited for on the disk; then they are left out."""

KILLED_S_MAX = 0.5
"""How long the cancels of a kill wait for frames that are not on the disk: an ingest that is gone
brings none there. Then the session is opened again, where the disk ends, and its cancels rest on
that."""

FLUSH_S_MAX = 10.0
"""How long the end waits for its frames to be on the disk."""

WAIT_S = 0.005

Runs = list[tuple[str, Frames]]
"""Runs of frames, each with its feed."""


class LiveShard(Closes):
    """One thread uses it; a context manager. Call turn() until it returns False.

    opened: a session that has caught up with the journal on the disk. reader: None where it is
    only to be ended. Raises what its parts raise (TicklakeError, redis.RedisError); then it is of
    no more use; after Differs, abandon() it.
    """

    def __init__(self, parts: Parts, opened: Opened, reader: ShardReader | None) -> None:
        self._parts = parts
        self._opened = opened
        self.session = opened.session
        self._reader = reader
        self._watch = DurableWatch(parts.client, parts.shard)
        self._commands = Commands(opened.session.start)
        self._waiting = CommandsToLedger(opened.ledger, self._watch, opened.session.start.session)
        self._through = self._on_disk = opened.through
        self._epoch = 0
        self._heard = (self.session.clock_us, parts.clock.monotonic_us())
        self._stuck_us: int | None = None
        self._take_outs(opened.outs)

    def close(self) -> None:
        """Let go of everything; what waits is not written."""
        self._opened.close()

    def turn(self, wait_ms: int = WAIT_MS) -> bool:
        """Work on what comes next; return False once the session's day is over."""
        if not self._opened.ledger.leads:
            raise Fenced("turn of the accounts", "is over with its session", "begin anew")
        self._look_at_switch()
        self._look_at_model()
        assert self._reader is not None, "a session that is over takes nothing"
        delivered = self._reader.take(ENTRIES_AT_ONCE, 0 if self._waiting else wait_ms)
        runs = self._new_runs(delivered) if delivered else self._unheard()
        is_over = self._take(runs) if runs else not delivered and self._look_at_time()
        self._waiting.flush(0 if delivered else min(wait_ms, DURABLE_MS))
        if not self._waiting:
            self.session.prepare(self._now_us)
        self._look_at_waiting()
        if is_over:
            self.end("day")
            return False
        self._reader.done(delivered)
        return True

    def end(self, why: str) -> None:
        """End the session: take back what is out, and wait until all of it is in the ledger."""
        if not self.session.ended:
            self._say("end", self.session.clock_us, why=why)
        waits = int(FLUSH_S_MAX / WAIT_S)
        for _ in range(waits):
            self._waiting.flush()
            if not self._waiting:
                self._log("closed", self.session.clock_us)
                return
            self._parts.clock.sleep(WAIT_S)
        raise Unavailable("end of a session", "its frames are not on the disk", "look at ingest")

    def abandon(self, why: str) -> None:
        """Close a session of which the ledger has something else, with its orders taken back."""
        session, ledger = self.session.start.session, self._opened.ledger
        take_back(self._parts, ledger, session, "its session was abandoned")
        kinds: tuple[Literal["end", "closed"], ...] = ("end", "closed")
        for kind in kinds:
            self._log(kind, self.session.clock_us, broken=why)

    @property
    def follow(self) -> Follow:
        """Return where the session after this one begins, once its day is over."""
        return self._through, self.session.start.day_end_us

    def _new_runs(self, delivered: Sequence[Delivered]) -> Runs:
        for each in delivered:
            self._look_at_epoch(each.place)
        return merged_runs(
            (each.entry.feed, run)
            for each in delivered
            if each.place.epoch == self._epoch  # of an older one the disk has what holds
            for run in each.entry.runs(self._parts.shard)
            if run.last_frame > self._through
        )

    def _unheard(self) -> Runs:
        """Return what is on the disk and the stream did not bring: Redis may have lost it.

        Nothing while it is not known whether what was taken last is on the disk, too.
        """
        durable = self._parts.journal.durable()
        if durable <= self._through:
            return []
        if self._through > self._on_disk:
            self._watch.refresh()
            if not self._waiting.may_go(Place(self._epoch, self._through)):
                return []
        self._on_disk = durable
        return list(islice(self._parts.journal.runs(self._through, durable), 1))

    def _take(self, runs: Runs) -> bool:
        """Take frames beyond what was taken; return whether the day ended within them."""
        self._look_at_lag(runs[0][1])
        last = runs[-1][1]
        if int(last.received_us[-1]) >= self.session.due_us and last.last_frame > self._on_disk:
            self._watch.want(Place(self._epoch, last.last_frame))  # orders may come of the close
        tables: dict[str, list[pa.Table]] = {}
        through = self._through
        is_over = False
        for feed, run in runs:
            for part in self._whole(feed, run, through):
                frames, is_over = self._of_today(part[1])
                for name, rows in self._opened.once.take([(part[0], frames)]).tables.items():
                    tables.setdefault(name, []).append(rows)
                through = max(through, frames.last_frame)
                if is_over:
                    break
            if is_over:
                break
        self.session.take({name: pa.concat_tables(parts) for name, parts in tables.items()})
        self._through = through
        self._heard = (self.session.clock_us, self._parts.clock.monotonic_us())
        self._take_outs(self.session.drain())
        self._look_at_lag(runs[-1][1].slice(len(runs[-1][1]) - 1, len(runs[-1][1])))
        return is_over

    def _whole(self, feed: str, run: Frames, through: int) -> Iterable[tuple[str, Frames]]:
        """Yield what the stream lacks before a run, from the journal, then what is new of it."""
        first = through + 1
        if run.first_frame > first:
            yield from self._filled(first, run.first_frame - 1)
        skip = max(0, first - run.first_frame)
        if skip < len(run):
            yield feed, run.slice(skip, len(run))

    def _filled(self, first: int, last: int) -> Runs:
        """Return frames of the journal; those that it does not give in time are left out."""
        journal = self._parts.journal
        for _ in range(int(FILL_S_MAX / WAIT_S)):
            if journal.durable() >= last:
                return list(journal.runs(first - 1, last))
            self._parts.clock.sleep(WAIT_S)
        ranges = joined([(first, last)])
        self._log("left_out", self.session.clock_us, frames=[list(each) for each in ranges])
        return []

    def _of_today(self, frames: Frames) -> tuple[Frames, bool]:
        """Return frames without those from the next day on, and whether there are any."""
        end_us = self.session.start.day_end_us
        later = np.flatnonzero(frames.received_us >= end_us)
        if not len(later):
            return frames, False
        return frames.slice(0, int(later[0])), True

    def _look_at_epoch(self, place: Place) -> None:
        """Raise Unavailable where frames that were taken never came to the disk."""
        if place.epoch == self._epoch:
            return
        if self._epoch and self._through > self._on_disk:
            found = self._parts.client.hget(keys.starts(self._parts.shard), str(place.epoch))
            if place.epoch < self._epoch or not found or int(found) <= self._through:
                raise Unavailable("frames", "were lost before they were on the disk", "begin anew")
        self._epoch = max(self._epoch, place.epoch)

    def _look_at_lag(self, frames: Frames) -> None:
        """Note whether the session is late, by a run that is to come or has come."""
        lag_us = self._parts.clock.now_us() - int(frames.received_us[0])
        if not self.session.late and lag_us > LATE_US:
            self._say("late", self.session.clock_us, lag_us=lag_us)
        elif self.session.late and lag_us < ON_TIME_US and frames.last_frame <= self._through:
            self._say("on_time", self.session.clock_us)

    def _look_at_switch(self) -> None:
        word = self._parts.kill.state()
        if word.killed != self.session.killed:
            kind: Kind = "kill" if word.killed else "free"
            self._say(kind, self.session.clock_us, by=word.by, reason=word.reason)

    def _look_at_model(self) -> None:
        version = self._parts.models.newest()
        if version != self.session.model:
            self._say("model", self.session.clock_us, version=version)

    def _look_at_time(self) -> bool:
        """Close the minute that is due though nothing comes; return whether the day is over."""
        now_us = self._now_us
        if now_us >= self.session.due_us:
            due_us = (now_us - GRACE_US) // MINUTE_US * MINUTE_US + GRACE_US
            self._say("tick", due_us)
        return now_us >= self.session.start.day_end_us + GRACE_US

    @property
    def _now_us(self) -> int:
        """Return the time of the last frame and what has passed since by the monotonic clock: a
        step of the other closes nothing.
        """
        clock_us, at_us = self._heard
        return clock_us + self._parts.clock.monotonic_us() - at_us

    def _look_at_waiting(self) -> None:
        """Raise Unavailable where trading was stopped and an ingest that is gone holds it up."""
        if not (self.session.killed and self._waiting):
            self._stuck_us = None
            return
        now_us = self._parts.clock.monotonic_us()
        since_us = self._stuck_us = now_us if self._stuck_us is None else self._stuck_us
        if now_us - since_us > KILLED_S_MAX * 1e6:
            raise Unavailable("frames", "of a kill are not on the disk", "begin anew")

    def _say(self, kind: Kind, at_us: int, **said: object) -> None:
        """Record a word, then give it to the session."""
        self.session.word(self._log(kind, at_us, **said))
        self._take_outs(self.session.drain())

    def _log(self, kind: Kind, at_us: int, **said: object) -> Word:
        return self._opened.add(Word(kind, self._through, at_us, said))

    def _take_outs(self, outs: Iterable[Out]) -> None:
        for out in outs:
            rests = None if out.frame <= self._on_disk else Place(self._epoch, out.frame)
            self._waiting.take(rests, self._commands.of(out))

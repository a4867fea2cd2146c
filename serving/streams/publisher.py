"""Ingest's frames into Redis Streams, from a thread of their own.

The reader's loop offers and goes on; nothing here is ever waited for. What Redis does not take in
time is dropped and counted, and the next entry that gets through says so, in its place among the
frames. Entries bear EPOCH-FRAME as their id, so one that is sent again after an answer was lost is
refused by Redis as known, and an ingest that lost its shard to another can't add to it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from lake.clock import Clock
from lake.ingest.intake import Slice
from serving.streams import entry, keys
from serving.streams.breaker import Breaker
from serving.streams.connect import connected
from serving.streams.entry import Drop
from serving.streams.keys import Place
from serving.streams.listeners import LOOK_S, Ear
from serving.streams.shedding import SheddingQueue, Waiting

FRAMES_AT_ONCE = 2_000
"""Frames of one round trip."""

ENTRIES_MAX = 100_000
STREAM_BYTES_MAX = 64 << 20
"""Entries and bytes of frames that a shard's stream keeps; what is older is trimmed."""

SLOW_S = 0.25
"""A round trip that takes longer counts as failed, though it was answered."""

IDLE_S = 0.25
STOP_S_MAX = 2.0
DURABLE_MAX = 64
STARTS_MAX = 1_000
KNOWN = "equal or smaller than the target stream top item"


@dataclass
class Published:
    """What a publisher has done so far; frames and drops are counted in frames."""

    frames: int = 0
    entries: int = 0
    known: int = 0
    faults: int = 0
    last_fault: str = ""
    fenced: bool = False


@dataclass
class _Batch:
    taken: list[Waiting]
    drops: list[Drop]
    commands: list[tuple[Place, bytes, int]] = field(default_factory=list)


class Publisher:
    """One shard's way into Redis; a Tap of its Intake.

    url: of the Redis. epoch: of the shard's lease. next_frame: the first that this ingest numbers.
    recorded: whether frames of recordings go there too, and not only those of live sockets.
    always: whether they go there though nobody listens (serving.streams.listeners).
    """

    def __init__(
        self,
        url: str,
        shard: int,
        epoch: int,
        next_frame: int,
        clock: Clock,
        *,
        recorded: bool = False,
        always: bool = True,
        queue: SheddingQueue | None = None,
        stream_bytes_max: int = STREAM_BYTES_MAX,
    ) -> None:
        self._url = url
        self._shard = shard
        self._start = Place(epoch, next_frame)
        self._clock = clock
        self._recorded = recorded
        self.queue = queue or SheddingQueue()
        self.breaker = Breaker(clock)
        self.done = Published()
        self._stream_bytes_max = stream_bytes_max
        self._kept: deque[tuple[Place, int]] = deque()
        self._kept_bytes = 0
        self._number = 0
        self._durable = next_frame - 1
        self._said_durable = -1
        self._began = False
        self._client: Redis | None = None
        self._ear = None if always else Ear(url, clock)
        self.wanted: Callable[[int], None] = lambda frame: None
        """Is told, in the publisher's thread, of a frame that somebody waits for to be durable."""
        self.heard = always
        """Whether somebody listens, or frames are sent whoever does."""
        self._passed_by = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def frames(self, given: Slice) -> None:
        """Offer frames; never waits."""
        if self._recorded or not given.recorded:
            self.queue.offer(given)

    def durable(self, frame: int) -> None:
        """Note what is durable; never waits."""
        if frame != self._durable:
            self._durable = frame
            self.queue.wake()

    def figures(self) -> dict[str, int]:
        """Return frames sent, waiting and dropped by kind, and how the breaker stands."""
        return {
            "sent": self.done.frames,
            "waiting": self.queue.frames,
            "dropped_quotes": self.queue.dropped["quotes"],
            "dropped_trades": self.queue.dropped["trades"],
            "faults": self.done.faults,
            "unheard": self.queue.unheard,
            "opened": self.breaker.opened,
            "heard": self.heard,
            "closed": self.breaker.state == "closed" and not self.done.fenced,
        }

    def close(self) -> None:
        """Send what waits, for STOP_S_MAX at most; what is left then is dropped and counted."""
        self._stop.set()
        self.queue.wake()
        self._thread.join(STOP_S_MAX)

    def _run(self) -> None:
        batch: _Batch | None = None
        try:
            while not (self._stop.is_set() and self._is_empty()):
                if not self._is_heard():
                    self._pass_by(batch)
                    batch = None
                    if self._stop.wait(LOOK_S):
                        break
                    continue
                if self.done.fenced or not self.breaker.allows():
                    self._let_pass(batch)
                    batch = None
                    if self._stop.wait(IDLE_S / 10):
                        break
                    continue
                self.queue.open()
                batch = batch or self._next()
                if self._sent(batch):
                    batch = None
        finally:
            self._let_pass(batch)
            for each in (self._client, self._ear):
                if each is not None:
                    each.close()

    def _is_heard(self) -> bool:
        if self._ear is not None:
            self.heard = self._ear.hears()
        return self.heard

    def _pass_by(self, batch: _Batch | None) -> None:
        """Let pass what comes, while nobody listens."""
        if batch is not None:
            self.queue.give_up(batch.taken, batch.drops)
        self.queue.mute()
        self._passed_by = True

    def _is_empty(self) -> bool:
        return not self.queue.frames and self._durable == self._said_durable

    def _let_pass(self, batch: _Batch | None) -> None:
        """Drop what waits: Redis is left alone, and memory is not for keeping it."""
        self.queue.shut()
        if batch is not None:
            self.queue.give_up(batch.taken, batch.drops)

    def _next(self) -> _Batch:
        trial = self.breaker.state != "closed"
        is_news = self._durable != self._said_durable
        wait_s = 0.0 if trial or is_news else IDLE_S
        taken, drops = self.queue.take(1 if trial else FRAMES_AT_ONCE, wait_s)
        batch = _Batch(taken, drops)
        for i, one in enumerate(taken):
            given = one.given
            said = drops if i == 0 else ()
            of = (given.feed, given.connection, given.recorded)
            raw = entry.dump(self._number, *of, one.numbers, one.received_us, one.frames, said)
            place = Place(self._start.epoch, given.first_frame)
            batch.commands.append((place, raw, len(one.frames)))
            self._number += 1
        return batch

    def _sent(self, batch: _Batch) -> bool:
        """Send a batch; whatever became of it before, it is there once when this is True."""
        start_us = self._clock.monotonic_us()
        durable = self._durable
        try:
            client = self._connected()
            self._begin(client)
            answers = self._piped(client, batch, durable)
            self._judge(batch, answers)
        except RedisError as error:
            self._failed(str(error))
            return False
        if self._clock.monotonic_us() - start_us > SLOW_S * 1e6:
            self._failed(f"took more than {SLOW_S} s")
        else:
            self.breaker.good()
        self._said_durable = max(self._said_durable, durable)
        if answers[-1] and answers[-1].isdigit():
            self.wanted(int(answers[-1]))
        return True

    def _piped(self, client: Redis, batch: _Batch, durable: int) -> list[Any]:
        """Send frames, what is to be trimmed, and the durable mark, in one round trip; the last
        answer is what is wanted on the disk.
        """
        stream = keys.frames(self._shard)
        pipe = client.pipeline(transaction=False)
        for place, raw, _ in batch.commands:
            pipe.xadd(stream, {"b": raw}, id=place.id, maxlen=ENTRIES_MAX, approximate=True)
        if self._kept_bytes > self._stream_bytes_max and len(self._kept) > 1:
            while self._kept_bytes > self._stream_bytes_max and len(self._kept) > 1:
                self._kept_bytes -= self._kept.popleft()[1]
            pipe.xtrim(stream, minid=self._kept[0][0].id, approximate=False)
        if durable != self._said_durable:
            self._say_durable(pipe, durable)
        if self._passed_by and batch.commands:
            pipe.set(keys.whole_from(self._shard), batch.commands[0][0].frame)
        pipe.get(keys.wanted(self._shard, self._start.epoch))
        return list(pipe.execute(raise_on_error=False))

    def _say_durable(self, pipe: Any, frame: int) -> None:
        place = Place(self._start.epoch, frame)
        fields: Any = {"start": self._start.frame}
        pipe.xadd(keys.durable(self._shard), fields, id=place.id, maxlen=DURABLE_MAX)

    def _judge(self, batch: _Batch, answers: list[Any]) -> None:
        """Count what is there; raise the first answer that is a fault."""
        for answer in answers:
            if isinstance(answer, RedisError) and KNOWN not in str(answer):
                raise answer
        of_frames = answers[: len(batch.commands)]
        known = sum(isinstance(answer, ResponseError) for answer in of_frames)
        if known and self._is_older():
            self.done.fenced = True
            raise ResponseError(f"shard {self._shard} has another owner now")
        self.done.known += known
        self.done.entries += len(of_frames)
        self._passed_by = self._passed_by and not batch.commands
        self.done.frames += sum(count for _, _, count in batch.commands)
        self._kept += [(place, len(raw)) for place, raw, _ in batch.commands]
        self._kept_bytes += sum(len(raw) for _, raw, _ in batch.commands)

    def _is_older(self) -> bool:
        """Tell whether an ingest of a later epoch has published."""
        assert self._client is not None
        epochs = self._client.hkeys(keys.starts(self._shard))
        return any(int(each) > self._start.epoch for each in epochs)

    def _begin(self, client: Redis) -> None:
        """Say where this epoch starts: what an earlier one published from there on is void."""
        if self._began:
            return
        stream, starts = keys.frames(self._shard), keys.starts(self._shard)
        size = int(client.memory_usage(stream, samples=0) or 0)
        if size:
            last = client.xinfo_stream(stream)["last-generated-id"]
            self._kept = deque([(keys.place_of(last), size)])
            self._kept_bytes = size
        client.hset(starts, str(self._start.epoch), self._start.frame)
        known = sorted(int(each) for each in client.hkeys(starts))
        if len(known) > STARTS_MAX:
            client.hdel(starts, *map(str, known[: len(known) - STARTS_MAX]))
        self._began = True

    def _connected(self) -> Redis:
        if self._client is None:
            self._client = connected(self._url)
        return self._client

    def _failed(self, said: str) -> None:
        self.done.faults += 1
        self.done.last_fault = said
        self.breaker.bad()
        self._began = False  # it may come back empty
        if self._client is not None:
            self._client.close()
            self._client = None


__all__ = ["Published", "Publisher"]

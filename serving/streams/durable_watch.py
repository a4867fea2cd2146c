"""Which frames are on the disk: an order is made durable only once those that it rests on are."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

from redis import Redis
from redis.exceptions import ResponseError

from serving.streams import keys
from serving.streams.keys import Place, place_of

WANTED_MS = 1_000
"""How long a word that somebody waits is there; an ingest looks for it with all that it sends."""

Answer = Literal["durable", "waiting", "void"]


class DurableWatch:
    """One shard's mark, as last heard of; refresh() asks Redis, the rest does not."""

    def __init__(self, client: Redis, shard: int) -> None:
        self._client = client
        self._shard = shard
        self._stream = keys.durable(shard)
        self._starts_key = keys.starts(shard)
        self._starts: dict[int, int] = {}
        self._wanted = Place(0, 0)
        self.mark = Place(0, 0)
        """Every frame up to it, inclusive, is durable, but for void ones."""

    def refresh(self, wait_ms: int = 0) -> Place:
        """Return the newest mark; wait so long for one that is newer than the last heard of."""
        after = self.mark.id
        answer: Any = self._client.xread({self._stream: after}, block=wait_ms or None)
        if not answer:
            return self.mark
        for entry_id, fields in answer[0][1]:
            place = place_of(entry_id)
            if place.epoch not in self._starts:
                self._read_starts()
                self._starts[place.epoch] = int(fields[b"start"])
            self.mark = max(self.mark, place)
        return self.mark

    def want(self, frame: Place) -> None:
        """Have the shard's ingest bring frames through this one to the disk now, not in its turn.

        What is wanted already, or was before, is not asked for again. A Redis that takes no writes
        is not asked: the disk has its turn all the same.
        """
        if frame > max(self.mark, self._wanted):
            key = keys.wanted(self._shard, frame.epoch)
            with suppress(ResponseError):
                self._client.set(key, frame.frame, px=WANTED_MS)
            self._wanted = frame

    def about(self, frame: Place) -> Answer:
        """Tell of a frame whether it is durable.

        void: it was published, and its ingest died before it was on the disk; the number is another
        frame's now, and nothing may rest on it.
        """
        if frame.epoch == self.mark.epoch:
            return "durable" if frame.frame <= self.mark.frame else "waiting"
        if frame.epoch > self.mark.epoch:
            return "waiting"
        later = [first for epoch, first in self._starts.items() if epoch > frame.epoch]
        return "void" if frame.frame >= min(later) else "durable"

    def _read_starts(self) -> None:
        found: Any = self._client.hgetall(self._starts_key)
        self._starts |= {int(epoch): int(first) for epoch, first in found.items()}

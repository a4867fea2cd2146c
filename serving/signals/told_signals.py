"""The stream of signals: one entry for each update of features, of the predictions that count.

Bounded, and may be lost: every prediction is a row of model_predictions.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

import orjson
from redis import Redis
from redis.exceptions import RedisError

from lake.errors import Unavailable
from serving.signals.prediction import Prediction, as_told, of_told
from serving.streams import keys
from serving.streams.bound import entries_kept

FIELD = b"s"
ENTRIES_MIN, ENTRIES_MAX, SIGNALS_BYTES = 20, 2_000, 32_000_000
"""Entries that the stream keeps: as many like the newest as take so many bytes."""

ENTRIES_AT_ONCE = 50
HELD_MAX = 1_000
"""Newest predictions that a reader keeps."""


def text_of(said: Prediction) -> bytes:
    """Return a prediction as tell() takes it."""
    return orjson.dumps(as_told(said))


def tell(client: Redis, texts: Iterable[bytes]) -> None:
    """Add an entry. Raises redis.RedisError."""
    said = b"[" + b",".join(texts) + b"]"
    kept = entries_kept(SIGNALS_BYTES, len(said), ENTRIES_MIN, ENTRIES_MAX)
    client.xadd(keys.SIGNALS, {FIELD: said}, maxlen=kept, approximate=True)


class NewestSignals:
    """Reads on from what it has, whenever it is asked; several threads may."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._after: bytes | None = None
        self._held: deque[Prediction] = deque(maxlen=HELD_MAX)

    def newest(self, limit: int) -> list[Prediction]:
        """Return the newest predictions, the newest first; Unavailable where Redis is away."""
        with self._lock:
            try:
                self._read()
            except RedisError as error:
                raise Unavailable("redis", "does not answer", "start it: ticklake up") from error
            return list(self._held)[: -limit - 1 : -1]

    def _read(self) -> None:
        if self._after is None:
            newest: Any = self._client.xrevrange(keys.SIGNALS, count=ENTRIES_AT_ONCE)
            self._take(reversed(newest))
            self._after = self._after or b"0-0"
            return
        while True:
            after: Any = {keys.SIGNALS: self._after}
            found: Any = self._client.xread(after, count=ENTRIES_AT_ONCE)
            for _, entries in found or ():
                self._take(entries)
            if not found or len(found[0][1]) < ENTRIES_AT_ONCE:
                return

    def _take(self, entries: Any) -> None:
        for entry_id, fields in entries:
            self._after = entry_id
            self._held.extend(of_told(orjson.loads(fields[FIELD])))

"""Whether anybody reads the frames: readers keep a key alive, and publishers look for it.

So an ingest that nobody listens to sends nothing, and one sends from a second after a reader came.
What went by before is in the journal, and soon in the lake, which is where readers begin.
"""

from __future__ import annotations

from redis import Redis
from redis.exceptions import RedisError

from lake.clock import Clock
from serving.streams import keys
from serving.streams.connect import connected

SAID_MS = 5_000
"""How long a reader's word holds; it is said again every SAY_S."""

SAY_S = 1.0
LOOK_S = 1.0
"""Between two looks of a publisher."""

GONE_S_MIN = 10.0
"""Time without a reader after which nothing is sent: a Redis that was emptied changes nothing."""


def say(client: Redis) -> bool:
    """Say that frames are read, for SAID_MS; tell whether nobody had said so before.

    Raises redis.RedisError.
    """
    return client.set(keys.LISTENS, 1, px=SAID_MS, get=True) is None


class Ear:
    """A publisher's, for its own thread: whether there is a reader, by the last look.

    A Redis that can't be asked changes nothing: whoever listened may do so still.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._client: Redis | None = None
        self._looked_us: int | None = None
        self._there_us = 0
        self._is_there = False

    def hears(self) -> bool:
        """Tell whether somebody listens; looks every LOOK_S at most."""
        now_us = self._clock.monotonic_us()
        if self._looked_us is not None and now_us - self._looked_us < LOOK_S * 1e6:
            return self._is_there
        self._looked_us = now_us
        try:
            self._client = self._client or connected(self._url)
            found = bool(self._client.exists(keys.LISTENS))
        except RedisError:
            self.close()
            return self._is_there
        if found:
            self._there_us = now_us
            self._is_there = True
        elif now_us - self._there_us >= GONE_S_MIN * 1e6:
            self._is_there = False
        return self._is_there

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()
            self._client = None

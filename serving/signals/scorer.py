"""From the workers' updates to signals: what closes is scored, told, and then kept.

Told first: who acts on a signal waits for the versions that decide, and for nothing else. Then the
seats beside them speak, and all of it goes to the recorder. An update that comes again, after a
restart, is told once and kept once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from redis import Redis

from feature_repo.trading.market import Instrument
from lake.clock import Clock
from serving.live.told import UPDATE
from serving.signals.look_back import LookBack
from serving.signals.models import InUse
from serving.signals.outcomes import ByVersion
from serving.signals.prediction import Prediction
from serving.signals.recorder import Recorder
from serving.signals.scoring import Told, beside, decided, is_fresh, told_of
from serving.signals.silence import Silences, heard
from serving.signals.told_signals import HELD_MAX, NewestSignals, tell
from serving.streams import keys

LOG = logging.getLogger("ticklake.signals")
ENTRIES_AT_ONCE = 200
WAIT_MS = 200
SHARDS_US = 1_000_000
"""Between two looks for shards that are new."""

BACK_MS = 70_000
"""How far back one that starts reads: the last minute that closed is in it."""

HAS_FEATURES = b'"features":[{'
"""Of updates a few in a minute have any: the others are not parsed."""


class Updates:
    """Reads every shard's updates on from where it was; used by one thread."""

    def __init__(self, client: Redis, clock: Clock, look_back: LookBack | None = None) -> None:
        self._client = client
        self._clock = clock
        self._look_back = look_back
        self._after: dict[str, bytes | str] = {}
        self._looked_us: int | None = None

    def read(self, wait_ms: int = WAIT_MS) -> list[Told]:
        """Return the newest features of each instrument that came; waits for the first.

        Raises redis.RedisError.
        """
        self._find_shards()
        if not self._after:
            self._clock.sleep(wait_ms / 1_000)
            return []
        after: Any = self._after
        found: Any = self._client.xread(after, count=ENTRIES_AT_ONCE, block=wait_ms)
        heard_us = self._clock.now_us()
        rows: dict[Instrument, Told] = {}
        for stream, entries in found or ():
            for entry_id, fields in entries:
                self._after[stream.decode()] = entry_id
                told = list(_rows(fields, heard_us))
                rows |= {row.instrument: row for row in told}
                if self._look_back is not None:
                    self._look_back.hear(told)
        return [row for row in rows.values() if is_fresh(row, heard_us)]

    def _find_shards(self) -> None:
        now_us = self._clock.monotonic_us()
        if self._looked_us is not None and now_us - self._looked_us < SHARDS_US:
            return
        shards: Any = self._client.smembers(keys.SHARDS)
        self._looked_us = now_us
        back = f"{self._clock.now_us() // 1_000 - BACK_MS}-0"
        for shard in shards:
            self._after.setdefault(keys.updates(int(shard)), back)


def _rows(fields: Mapping[bytes, bytes], heard_us: int) -> Iterator[Told]:
    raw = fields.get(UPDATE, b"")
    if HAS_FEATURES not in raw:
        return
    try:
        yield from [told_of(row, heard_us) for row in orjson.loads(raw)["features"]]
    except (KeyError, TypeError, ValueError) as error:
        LOG.warning("an update can't be read: %r", error)


class Scorer:
    """Scores rows by what is in use; used by one thread.

    in_use, outcomes: ask for the models by name, and for how their versions came out. silences:
    hears which champions spoke. look_back: has heard the rows, and those before them.
    """

    def __init__(
        self,
        client: Redis,
        recorder: Recorder,
        clock: Clock,
        in_use: Callable[[], Mapping[str, InUse]],
        outcomes: Callable[[], Mapping[str, ByVersion]],
        silences: Silences | None = None,
        look_back: LookBack | None = None,
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._clock = clock
        self._in_use = in_use
        self._outcomes = outcomes
        self._silences = silences or Silences(clock)
        self._look_back = look_back or LookBack(in_use)
        self._known: dict[tuple[str, Instrument], int] = {}

    def begin(self) -> None:
        """Read what was told before, so that it is not told again. Raises Unavailable."""
        for each in reversed(NewestSignals(self._client).newest(HELD_MAX)):
            self._known[each.model, each.instrument] = each.known_us

    def score(self, rows: Sequence[Told]) -> list[Prediction]:
        """Say, tell and keep; return what was told. Raises redis.RedisError."""
        told: list[Prediction] = []
        rows = self._look_back.ready(rows)
        for use in self._in_use().values():
            outcomes = self._outcomes().get(use.name, {})
            found, spoken = decided(use, rows, outcomes, self._clock)
            news = [each for each in found if self._is_new(each)]
            try:
                if news:
                    tell(self._client, news)
                told += news
            finally:  # what was said is kept, told or not
                said = [*spoken, *beside(use, rows, spoken, self._clock)]
                self._recorder.put(said)
                heard(self._silences, use, rows, said)
        self._look_back.keep()
        return told

    def _is_new(self, said: Prediction) -> bool:
        key = said.model, said.instrument
        if self._known.get(key, -1) >= said.known_us:
            return False
        self._known[key] = said.known_us
        return True

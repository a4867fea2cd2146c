"""From the workers' minutes to signals: what closes is scored, told, and then kept.

Told first: who acts on a signal waits for the versions that decide, and for nothing else. Then the
seats beside them speak, and all of it goes to the recorder. An update that comes again, after a
restart, is told once and kept once.

A worker tells ahead of the features of a minute that is about to close. What comes of them is made
out then, and told once an update says that it is so; it is made anew where anything else is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from redis import Redis

from feature_repo.trading.market import Instrument
from lake.clock import Clock
from serving.live.told import (
    AGAIN,
    AHEAD,
    ANEW,
    FEATURES,
    MISSED,
    SAME,
    UPDATE,
    WINDOW_MAX,
    digest,
)
from serving.signals.look_back import LookBack
from serving.signals.models import InUse
from serving.signals.outcomes import ByVersion
from serving.signals.prediction import Prediction
from serving.signals.recorder import Recorder
from serving.signals.scoring import Spoken, Told, beside, decided, is_fresh, looks_back, told_of
from serving.signals.silence import Silences, heard
from serving.signals.told_signals import HELD_MAX, NewestSignals, tell, text_of
from serving.streams import keys

LOG = logging.getLogger("ticklake.signals")
ENTRIES_AT_ONCE = 200
WAIT_MS = 200
SHARDS_US = 1_000_000
"""Between two looks for shards that are new."""

BACK_MS = (WINDOW_MAX + 2) * 60_000
"""How far back one that starts reads: the rows of the longest window, and the last that closed."""

SCORED_MS = 70_000
"""What was told longer ago is heard and not scored: the last minute that closed is not."""


class Updates:
    """Reads every shard's minutes on from where it was; used by one thread."""

    def __init__(self, client: Redis, clock: Clock, look_back: LookBack | None = None) -> None:
        self._client = client
        self._clock = clock
        self._look_back = look_back
        self._after: dict[str, bytes | str] = {}
        self._looked_us: int | None = None
        self._ahead: dict[bytes, tuple[bytes, list[Told]]] = {}
        self._instruments: dict[bytes, set[Instrument]] = {}

    def read(self, wait_ms: int = WAIT_MS) -> list[Told]:
        """Return the newest features of each instrument that came; waits for the first.

        Those that were told ahead and are so now are the objects of ahead(). Raises
        redis.RedisError.
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
                is_new = heard_us // 1_000 - int(entry_id.partition(b"-")[0]) <= SCORED_MS
                told = self._rows(stream, fields, heard_us)
                if told is None:  # it was before where one that starts reads from, or was cut off
                    self._forget(stream)
                    if is_new:
                        LOG.warning("%s: the rows of an update are gone", stream.decode())
                    continue
                self._look_back_on(stream, fields, told, heard_us)
                if is_new:
                    rows |= {row.instrument: row for row in told}
        return [row for row in rows.values() if is_fresh(row, heard_us)]

    def ahead(self) -> list[list[Told]]:
        """Return what was told ahead and has not come to be yet, of each shard."""
        return [rows for _, rows in self._ahead.values()]

    def _rows(
        self, stream: bytes, fields: Mapping[bytes, bytes], heard_us: int
    ) -> Sequence[Told] | None:
        """Return the rows of an update; None where it says those of what was not heard.

        What is told ahead is kept for one that says it is so.
        """
        ahead = fields.get(AHEAD)
        if ahead is not None:
            self._ahead[stream] = digest(ahead), _rows_of(FEATURES + ahead + b"}", heard_us)
            return ()
        raw, same = fields.get(UPDATE), fields.get(SAME)
        if raw is None and same is None:
            return ()
        said, rows = self._ahead.pop(stream, (b"", []))
        if raw is not None:
            return _rows_of(raw, heard_us)
        return rows if same == said else None

    def _look_back_on(
        self, stream: bytes, fields: Mapping[bytes, bytes], told: Sequence[Told], heard_us: int
    ) -> None:
        """Have the first row of each minute heard, those that were missed before the newest."""
        if self._look_back is None:
            return
        if ANEW in fields:
            self._forget(stream)
        mine = self._instruments.setdefault(stream, set())
        missed = fields.get(MISSED)
        before = _rows_of(missed, heard_us) if missed else []
        again = set(orjson.loads(fields.get(AGAIN, b"[]")))
        rows = [*before, *(row for n, row in enumerate(told) if n not in again)]
        mine.update(row.instrument for row in rows)
        self._look_back.hear(rows)

    def _forget(self, stream: bytes) -> None:
        """Have windows of a shard begin anew: minutes may lack."""
        if self._look_back is not None:
            self._look_back.forget(self._instruments.setdefault(stream, set()))

    def _find_shards(self) -> None:
        now_us = self._clock.monotonic_us()
        if self._looked_us is not None and now_us - self._looked_us < SHARDS_US:
            return
        shards: Any = self._client.smembers(keys.SHARDS)
        self._looked_us = now_us
        back = f"{self._clock.now_us() // 1_000 - BACK_MS}-0"
        for shard in map(int, shards):
            self._after.setdefault(keys.minutes(shard), back)


def _rows_of(raw: bytes, heard_us: int) -> list[Told]:
    """Return the rows of features of an update."""
    try:
        return [told_of(row, heard_us) for row in orjson.loads(raw)["features"]]
    except (KeyError, TypeError, ValueError) as error:
        LOG.warning("an update can't be read: %r", error)
        return []


@dataclass(frozen=True, slots=True)
class _Foreseen:
    """What came of rows that were told ahead, by a model as it was and its outcomes then.

    texts: of what was found, as it is told.
    """

    use: InUse
    outcomes: ByVersion
    rows: Sequence[Told]
    found: list[Prediction]
    texts: list[bytes]
    spoken: list[Spoken]


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
        self._look_back = look_back or LookBack()
        self._known: dict[tuple[str, Instrument], int] = {}
        self._ahead: list[Sequence[Told]] = []
        self._foreseen: list[_Foreseen] = []

    def begin(self) -> None:
        """Read what was told before, so that it is not told again. Raises Unavailable."""
        for each in reversed(NewestSignals(self._client).newest(HELD_MAX)):
            self._known[each.model, each.instrument] = each.known_us

    def foresee(self, ahead: Sequence[Sequence[Told]]) -> None:
        """Make out what is said of rows that were told ahead; nothing is told or kept.

        ahead: as of Updates. A model that looks at rows before them waits for the close.
        """
        news = [rows for rows in ahead if not any(rows is known for known in self._ahead)]
        self._ahead = list(ahead)
        self._foreseen = [
            each for each in self._foreseen if any(each.rows is rows for rows in ahead)
        ]
        for rows in news:
            for use in self._in_use().values():
                if looks_back(use):
                    continue
                outcomes = self._outcomes().get(use.name, {})
                found, spoken = decided(use, rows, outcomes, self._clock)
                texts = [text_of(each) for each in found]
                self._foreseen.append(_Foreseen(use, outcomes, rows, found, texts, spoken))

    def score(self, rows: Sequence[Told]) -> list[Prediction]:
        """Say, tell and keep; return what was told. Raises redis.RedisError."""
        told: list[Prediction] = []
        for use in self._in_use().values():
            outcomes = self._outcomes().get(use.name, {})
            asked = self._look_back.ready(use, rows)
            found, spoken, left = self._known_of(use, outcomes, asked)
            more = decided(use, left, outcomes, self._clock) if left else ([], [])
            found += [(each, text_of(each)) for each in more[0]]
            spoken += more[1]
            news = [each for each in found if self._is_new(each[0])]
            try:
                if news:
                    tell(self._client, [text for _, text in news])
                told += [each for each, _ in news]
            finally:  # what was said is kept, told or not
                said = [*spoken, *beside(use, asked, spoken, self._clock)]
                self._recorder.put(said)
                heard(self._silences, use, asked, said)
        self._look_back.keep()
        return told

    def _known_of(
        self, use: InUse, outcomes: ByVersion, rows: Sequence[Told]
    ) -> tuple[list[tuple[Prediction, bytes]], list[Spoken], list[Told]]:
        """Return what was foreseen of rows by what is in use now, and the rows that are left.

        With each prediction is its text.
        """
        found: list[tuple[Prediction, bytes]] = []
        spoken: list[Spoken] = []
        given, done = {id(row) for row in rows}, set[int]()
        for each in self._foreseen:
            mine = {id(row) for row in each.rows}
            is_so = each.use == use and each.outcomes == outcomes and mine <= given
            if is_so and not any(said.fallback for said in each.found):
                found += zip(each.found, each.texts, strict=True)
                spoken += each.spoken
                done |= mine
        return found, spoken, [row for row in rows if id(row) not in done]

    def _is_new(self, said: Prediction) -> bool:
        key = said.model, said.instrument
        if self._known.get(key, -1) >= said.known_us:
            return False
        self._known[key] = said.known_us
        return True

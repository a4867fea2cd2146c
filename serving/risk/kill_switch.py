"""The switch that stops all trading: one word in a file and in Redis, the newer of the two holds.

The file survives Redis, Redis reaches other machines; whoever looks copies the newer word to the
place that has the older. So neither an emptied Redis nor a restart lets orders out again. A file
that can't be read, an empty one among them, is read as stopped: no word of Redis lets orders out of
this machine then, since nobody knows which is newer, until a release writes the file anew. So is a
Redis that was not heard of for AWAY_US_MAX: an order
that waits does less harm than one that should not have been.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from redis import Redis
from redis.exceptions import RedisError

from lake.clock import Clock
from lake.errors import Refused
from serving.streams import keys

KILLED = "run/killed.json"
"""The file of a home."""

LOOK_US = 100_000
"""Between two looks at Redis; the file is looked at whenever it is asked."""

LOOK_AWAY_US = 1_000_000
"""Between two looks at a Redis that does not answer: each of them waits for it."""

AWAY_US_MAX = 5_000_000
REASON_CHARS_MAX = 500


@dataclass(frozen=True, slots=True)
class Word:
    """Whether trading is stopped, since when (UTC microseconds), by whom and why."""

    killed: bool
    at_us: int
    by: str
    reason: str


FREE = Word(False, 0, "", "")


class KillSwitch:
    """Asked before every order.

    path: of the file, HOME/KILLED. client: None where there is no Redis.
    """

    def __init__(self, path: Path, client: Redis | None, clock: Clock) -> None:
        self._path = path
        self._client = client
        self._clock = clock
        self._looked_us = -LOOK_US
        self._heard_us = clock.monotonic_us()
        self._known = FREE

    def throw(self, by: str, reason: str) -> Word:
        """Stop all trading. It holds once the file is on the disk, whether Redis is there or not.

        Raises OSError where the file can't be written, after Redis was told.
        """
        return self._say(True, by, reason)

    def release(self, by: str, reason: str, at_us: int | None = None) -> Word:
        """Let orders out again; raises redis.RedisError where other machines can't be told.

        at_us: of the word that it ends, Refused where another holds; None: whatever holds.
        """
        if at_us is not None:
            self._looked_us = -LOOK_US  # another machine's word of just now counts
        word = self._say(False, by, reason, ends_us=at_us)
        if self._client is not None:
            self._client.ping()
        return word

    def state(self) -> Word:
        """Return the word that holds now."""
        now_us = self._clock.monotonic_us()
        word, is_read = self._of_file()
        if self._client is not None and now_us - self._looked_us >= LOOK_US:
            self._looked_us = now_us
            word = self._compared(word, is_read, now_us)
        if word.at_us < self._known.at_us:
            word = self._known
        self._known = word
        if self._client is not None and now_us - self._heard_us > AWAY_US_MAX and not word.killed:
            return Word(True, word.at_us, "kill switch", "Redis can't be asked")
        return word

    @property
    def is_on(self) -> bool:
        """Tell whether trading is stopped."""
        return self.state().killed

    def _say(self, killed: bool, by: str, reason: str, ends_us: int | None = None) -> Word:
        by, reason = by[:REASON_CHARS_MAX], reason[:REASON_CHARS_MAX]
        if killed:  # this machine first: Redis may hang; a disk that is full is said below
            known_us = max(self._known.at_us, self._of_file()[0].at_us)
            self._known = Word(True, max(self._clock.now_us(), known_us + 1), by, reason)
            with suppress(OSError):
                self._to_file(self._known)
        holds = self.state()
        if ends_us is not None:
            _is_ended_by(holds, ends_us)
        word = Word(killed, max(self._clock.now_us(), holds.at_us + 1), by, reason)
        self._known = word
        self._to_redis(word)
        self._to_file(word)
        return word

    def _compared(self, word: Word, is_read: bool, now_us: int) -> Word:
        """Compare the file with Redis; bring the older up to the newer.

        is_read: the file has a word, or is not there; one that can't be read loses to no release.
        """
        try:
            found: Any = self._client.get(keys.KILLED) if self._client else None
        except RedisError:
            self._looked_us = now_us + LOOK_AWAY_US - LOOK_US
            return word
        self._heard_us = now_us
        other = _read(found)[0] if found else FREE
        if not is_read and not other.killed:
            return replace(word, at_us=max(word.at_us, other.at_us))
        stops = other.at_us == word.at_us and other.killed
        if other.at_us > word.at_us or (stops and not word.killed):
            with suppress(OSError):  # where it can't be written it holds from memory
                self._to_file(other)
            return other
        if other.at_us < word.at_us:
            self._to_redis(word)
        return word

    def _of_file(self) -> tuple[Word, bool]:
        """Return the file's word, and whether it could be read."""
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return FREE, True
        except OSError as error:
            said = f"{self._path}: {error.strerror}"
            return Word(True, self._known.at_us, "kill switch", said), False
        return _read(raw, self._known.at_us)

    def _to_file(self, word: Word) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(f".{os.getpid()}.new")
        with new.open("wb") as file:
            file.write(orjson.dumps(asdict(word)))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _to_redis(self, word: Word) -> None:
        if self._client is None:
            return
        try:
            self._client.set(keys.KILLED, orjson.dumps(asdict(word)))
        except RedisError:
            return  # the next look tells it


def _is_ended_by(word: Word, at_us: int) -> None:
    """Raise Refused where a release of what was stopped at a time is none of this word."""
    if not word.killed:
        raise Refused("trading", "is not stopped", "there is nothing to let go on")
    if word.at_us != at_us:
        fault = f"is stopped since {word.at_us} by {word.by}, not since {at_us}"
        raise Refused("trading", fault, "look why, and name that at_us")


def _read(raw: bytes, at_us: int = 0) -> tuple[Word, bool]:
    """Return a stored word, and whether it is ours; what is not stops all, since at_us."""
    try:
        found = orjson.loads(raw)
        word = Word(**found)
        kinds = bool, int, str, str
        if all(isinstance(v, k) for v, k in zip(asdict(word).values(), kinds, strict=True)):
            return word, True
    except (orjson.JSONDecodeError, TypeError):
        pass
    return Word(True, at_us, "kill switch", "its word can't be read"), False

"""The log of sessions in PostgreSQL: words are durable before they take effect.

Whoever writes holds the turn of its accounts; a word's number is refused if another wrote it, so
one that lost its turn can't add to a session that has gone on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg

from lake.clock import utc_from_us
from lake.closes import Closes
from lake.errors import Damaged, Fenced, Unavailable
from serving.session.plan import Start, start_of
from serving.session.words import Word

STATEMENT_MS_MAX = 5_000
SESSIONS_MAX = 10_000
"""Sessions of one shard and day."""

BEGINS = "market.live_sessions.begins"
FIELDS = "word, frame, (extract(epoch FROM at) * 1000000)::bigint, said"


@dataclass(frozen=True, slots=True)
class Logged:
    """A session and all its words, the start among them."""

    start: Start
    words: Sequence[Word]

    @property
    def ended(self) -> Word | None:
        """Return the word that ended it; None where none did."""
        return next((each for each in self.words if each.kind == "end"), None)


class SessionLog(Closes):
    """One thread uses it. A context manager; raises Unavailable where the server is away."""

    def __init__(self, dsn: str) -> None:
        try:
            self._connection = psycopg.connect(dsn, autocommit=True, connect_timeout=5)
            self._connection.execute(f"SET statement_timeout = {STATEMENT_MS_MAX}".encode())
        except psycopg.Error as error:
            raise _away(error) from error

    def close(self) -> None:
        """Let go of the server."""
        self._connection.close()

    def add(self, session: str, number: int, shard: int, word: Word) -> None:
        """Make a word durable as this number of its session; Fenced where another has it."""
        said = json.dumps(word.said, sort_keys=True, separators=(",", ":"))
        row = session, number, shard, word.kind, word.frame, utc_from_us(word.at_us), said
        try:
            self._connection.execute(
                b"INSERT INTO market.live_sessions (session, number, shard, word, frame, at, said)"
                b" VALUES (%s, %s, %s, %s, %s, %s, %s)",
                row,
            )
        except (psycopg.errors.UniqueViolation, psycopg.errors.SerializationFailure) as error:
            raise Fenced(f"session {session}", "another goes on with it", "begin anew") from error
        except psycopg.Error as error:
            raise _away(error) from error

    def begin(self, start: Start) -> Start:
        """Make a start durable under the day's next free name; return it with that name."""
        day = utc_from_us(start.started_us)
        prefix = f"{day:%Y%m%d}-{start.shard}-"
        word = Word("start", start.first_frame - 1, start.started_us, start.document())
        known = len(self.of_day(start.started_us, start.shard))
        for number in range(known + 1, SESSIONS_MAX):
            name = f"{prefix}{number}"
            try:
                self.add(name, 1, start.shard, word)
            except Fenced:
                continue  # another account's session has begun meanwhile
            return start_of(name, start.document())
        raise Unavailable(f"sessions of {day:%F}", f"are {SESSIONS_MAX:,}", "wait for tomorrow")

    def unclosed(self, shard: int, accounts: Sequence[str]) -> list[Logged]:
        """Return sessions of a shard with one of these accounts that are not closed, the oldest
        first.
        """
        query = (
            "SELECT session FROM market.live_sessions AS s WHERE word = 'start' AND shard = %s"
            " AND said::jsonb -> 'strategies' ?| %s::text[] AND NOT EXISTS (SELECT FROM"
            " market.live_sessions AS c WHERE c.session = s.session AND c.word = 'closed')"
            " ORDER BY at, session"
        )
        return [self.read(name) for (name,) in self._rows(query, (shard, list(accounts)))]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else begin a session meanwhile."""
        self._rows("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (BEGINS,))
        try:
            yield
        finally:
            with suppress(Unavailable):  # it ends with the connection
                self._rows("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (BEGINS,))

    def beside(self, shard: int, accounts: Sequence[str]) -> list[Start]:
        """Return the starts of other shards' sessions with one of these accounts, not closed."""
        query = (
            "SELECT session, said FROM market.live_sessions AS s WHERE word = 'start'"
            " AND shard <> %s AND said::jsonb -> 'strategies' ?| %s::text[] AND NOT EXISTS (SELECT"
            " FROM market.live_sessions AS c WHERE c.session = s.session AND c.word = 'closed')"
            " ORDER BY at, session"
        )
        rows = self._rows(query, (shard, list(accounts)))
        return [start_of(session, json.loads(said)) for session, said in rows]

    def read(self, session: str) -> Logged:
        """Return a session; Damaged where it has no start, or a hole."""
        query = f"SELECT {FIELDS} FROM market.live_sessions WHERE session = %s ORDER BY number"
        words = [
            Word(kind, frame, at_us, json.loads(said))
            for kind, frame, at_us, said in self._rows(query, (session,))
        ]
        if not words or words[0].kind != "start":
            raise Damaged(f"session {session}", "is not in the log", "see `ticklake live --replay`")
        return Logged(start_of(session, words[0].said), words)

    def of_day(self, time_us: int, shard: int | None = None) -> list[str]:
        """Return the names of a UTC day's sessions, by their start; shard None: of all."""
        day = utc_from_us(time_us).replace(hour=0, minute=0, second=0, microsecond=0)
        query = (
            "SELECT session FROM market.live_sessions WHERE word = 'start' AND at >= %s AND at < %s"
            " AND shard = coalesce(%s, shard) ORDER BY at, session"
        )
        return [name for (name,) in self._rows(query, (day, day + timedelta(days=1), shard))]

    def _rows(self, query: str, given: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query.encode(), given).fetchall()
        except psycopg.Error as error:
            raise _away(error) from error


def _away(error: psycopg.Error) -> Unavailable:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return Unavailable("log of sessions", said, "look at PostgreSQL, see: ticklake status")

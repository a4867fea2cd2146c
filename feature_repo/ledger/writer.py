"""Commands become events: many in one transaction, each decided on the state before it.

One writer at a time holds the ledger's lock while it decides and writes, so numbers have no hole
and each hash names the one before. What another writer has added in between is read again first;
a command that was done before gives its event, whoever did it.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from feature_repo.ledger.commands import Command
from feature_repo.ledger.event_rows import CHAINS, write
from feature_repo.ledger.known import Batch, Head, Known, Outcome
from lake.clock import Clock
from lake.database import BY_RANGE, with_options
from lake.errors import Fenced, Unavailable, WrongUse

COMMANDS_MAX = 1_000
"""Commands of one transaction."""

LOCK = "market.ledger"
LOCK_MS_MAX = 5_000
"""How long a writer waits for another."""


class Writer:
    """Writes to one ledger, from one thread.

    turns: names of which one writer each may hold at a time. They are locks of the connection that
    writes: it goes with them, and is never made anew, so a writer that lost them writes no more.
    """

    def __init__(self, dsn: str, clock: Clock, *, turns: Sequence[str] = ()) -> None:
        # The newest rows are not in any statistics yet: by them a whole table would be read.
        self._dsn = with_options(dsn, **BY_RANGE)
        self._clock = clock
        self._turns = sorted(turns)
        self._had_turns = False
        self._connection: psycopg.Connection | None = None
        self._known = Known()
        self._heads: dict[str, Head] = {}

    def close(self) -> None:
        """Let go of the server."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def lead(self) -> None:
        """Take the turns now; Fenced where another has one, Unavailable without the server."""
        try:
            self._connected()
        except psycopg.Error as error:
            self.close()
            raise Unavailable("ledger", str(error).splitlines()[0], "try again") from error

    def commit(self, commands: Sequence[Command]) -> list[Outcome]:
        """Do commands in their order, all durable when this returns; refusals among them.

        Raises WrongUse for more than COMMANDS_MAX; Unavailable where the server did not answer in
        time: then nobody knows what was done, and the same commands may be given again.
        """
        if len(commands) > COMMANDS_MAX:
            fault = f"has {len(commands):,} commands"
            raise WrongUse("batch", fault, f"give {COMMANDS_MAX:,} at most")
        try:
            connection = self._connected()
            with connection.transaction():
                outcomes = self._within(connection, commands)
        except psycopg.Error as error:
            self._known.forget()
            self.close()
            said = str(error).splitlines()[0]
            raise Unavailable("ledger", said, "give the same commands again") from error
        except BaseException:
            self._known.forget()
            raise
        self._known.trim()
        return outcomes

    def _connected(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            if self._had_turns:
                raise Fenced("ledger", "the connection with our turn broke", "begin anew")
            self._connection = psycopg.connect(self._dsn, autocommit=True)
            self._connection.execute(f"SET lock_timeout = {LOCK_MS_MAX}".encode())
            for turn in self._turns:
                self._take(self._connection, turn)
        return self._connection

    def _take(self, connection: psycopg.Connection, turn: str) -> None:
        query = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
        found = connection.execute(query, (turn,)).fetchone()
        if not found or not found[0]:
            self.close()
            raise Fenced(turn, "another has this turn", "it goes on; wait, or end it")
        self._had_turns = True

    def _within(self, connection: psycopg.Connection, commands: Sequence[Command]) -> list[Outcome]:
        hold(connection)
        heads = read_heads(connection)
        if any(self._heads.get(name, heads[name]).hash != heads[name].hash for name in CHAINS):
            self._known.forget()
        self._heads = heads
        self._known.read(connection, commands)
        latest = max(head.not_before_us for head in heads.values())
        batch = Batch(self._known, heads, max(self._clock.now_us(), latest))
        outcomes = [batch.take(command) for command in commands]
        for chain in CHAINS:
            if batch.events[chain]:
                write(connection, chain, batch.events[chain], batch.hashes[chain])
        return outcomes


def hold(connection: psycopg.Connection) -> None:
    """Hold the ledger's lock to the end of the transaction."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (LOCK,))


def read_heads(connection: psycopg.Connection) -> dict[str, Head]:
    """Return the end of each chain."""
    rows = connection.execute(
        "SELECT ledger, last_id, hash, CASE WHEN isfinite(not_before)"
        " THEN (extract(epoch FROM not_before) * 1000000)::bigint ELSE 0 END"
        " FROM market.ledger_heads"
    )
    return {ledger: Head(last_id, hash_, us) for ledger, last_id, hash_, us in rows}

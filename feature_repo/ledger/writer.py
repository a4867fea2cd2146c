"""Commands become events: many in one transaction, each decided on the state before it.

One writer at a time holds the ledger's lock while it decides and writes, so numbers have no hole
and each hash names the one before. What another writer has added in between is read again first;
a command that was done before gives its event, whoever did it.
"""

from __future__ import annotations

import threading
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

CONNECT_S_MAX = 2
SILENT_MS_MAX = 5_000
"""The server ends the session of a leader that is silent for so long, and its lead with it."""

END_STUCK = """
    SELECT pg_terminate_backend(a.pid) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted
        AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended(%s, 0)
        AND a.state = 'active' AND a.wait_event = 'ClientRead'
        AND clock_timestamp() - a.query_start > %s * interval '1 millisecond'
    """
"""Ends the session of a leader that stopped within a COPY: no timeout of the server's does."""

ALIVE = {"tcp_keepalives_idle": 2, "tcp_keepalives_interval": 2, "tcp_keepalives_count": 2}
"""Seconds and times: a leader's machine that is gone is noticed, and its lead ends."""


class Writer:
    """Writes to one ledger, from one thread; beat() may come from another.

    leads: what only one process may do at a time, each by its name. They are held by the session
    that writes and end with it: once another holds one, nothing of ours can reach the ledger any
    more, however long we slept. They are never taken again: a new lead needs a new writer. beats:
    the server ends the session of one that is silent for silent_ms; call beat() more often.
    """

    def __init__(
        self,
        dsn: str,
        clock: Clock,
        *,
        leads: Sequence[str] = (),
        beats: bool = False,
        silent_ms: int = SILENT_MS_MAX,
    ) -> None:
        # The newest rows are not in any statistics yet: by them a whole table would be read.
        self._dsn = with_options(dsn, **BY_RANGE)
        self._clock = clock
        self._names = sorted(leads)
        self.silent_ms = silent_ms
        names = ("idle_session_timeout", "idle_in_transaction_session_timeout") if beats else ()
        self._settings = {"lock_timeout": LOCK_MS_MAX, **dict.fromkeys(names, silent_ms), **ALIVE}
        self._busy = threading.Lock()
        self._connection: psycopg.Connection | None = None
        self._known = Known()
        self._heads: dict[str, Head] = {}

    def close(self) -> None:
        """Let go of the server."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def take_lead(self) -> None:
        """Take every lead; Fenced where another has one, Unavailable where the server is away."""
        try:
            connection = psycopg.connect(self._dsn, autocommit=True, connect_timeout=CONNECT_S_MAX)
        except psycopg.Error as error:
            raise _away(error) from error
        try:
            for name, value in self._settings.items():
                connection.execute(f"SET {name} = {value}".encode())
            query = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
            for name in self._names:
                row = connection.execute(query, (f"{LOCK}.lead.{name}",)).fetchone()
                if row is None or not row[0]:
                    connection.execute(END_STUCK, (f"{LOCK}.lead.{name}", self.silent_ms))
                    remedy = "ask that one; this one takes over once it ends"
                    raise Fenced(name, "another process leads", remedy)
            connection.prepare_threshold = 0
            Known.ask_ahead(connection)
        except psycopg.Error as error:
            connection.close()
            raise _away(error) from error
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    @property
    def leads(self) -> bool:
        """Tell whether the lead is ours, as far as we have heard."""
        return self._connection is not None and not self._connection.closed

    def beat(self) -> None:
        """Let the server hear of us; where it does not, the lead is over.

        Nothing while a commit is under way: that is heard of by itself.
        """
        if not self._busy.acquire(blocking=False):
            return
        try:
            if self._connection is not None:
                self._connection.execute("SELECT 1")
        except psycopg.Error:
            self.close()
        finally:
            self._busy.release()

    def commit(self, commands: Sequence[Command]) -> list[Outcome]:
        """Do commands in their order, all durable when this returns; refusals among them.

        Raises WrongUse for more than COMMANDS_MAX; Unavailable where the server did not answer in
        time: then nobody knows what was done, and the same commands may be given again.
        """
        if len(commands) > COMMANDS_MAX:
            fault = f"has {len(commands):,} commands"
            raise WrongUse("batch", fault, f"give {COMMANDS_MAX:,} at most")
        try:
            with self._busy:
                connection = self._connected()
                with connection.transaction():
                    outcomes = self._within(connection, commands)
        except psycopg.Error as error:
            self._known.forget()
            self.close()
            raise _away(error) from error
        except BaseException:
            self._known.forget()
            raise
        self._known.trim()
        return outcomes

    def _connected(self) -> psycopg.Connection:
        if self._names and not self.leads:
            raise Fenced(", ".join(self._names), "is over with its session", "begin anew")
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._dsn, autocommit=True)
            self._connection.execute(f"SET lock_timeout = {LOCK_MS_MAX}".encode())
        return self._connection

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


def _away(error: psycopg.Error) -> Unavailable:
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return Unavailable("ledger", said, "give the same commands again")


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

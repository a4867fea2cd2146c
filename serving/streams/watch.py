"""A connection whose transactions hold only while a key has one value; two round trips each.

The key is watched with the read that begins a round, in one round trip; the effects of the round
are a transaction in another. Redis refuses that where the key has changed since, or has expired.
redis.client.Pipeline takes four round trips for the same, each of which wakes two processes.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from redis import ConnectionPool, Redis
from redis.exceptions import ResponseError

Command = tuple[Any, ...]


class Watch:
    """One thread's. Raises redis.RedisError; what was watched is then to be watched anew.

    value: what the key has to have.
    """

    def __init__(self, client: Redis, key: str, value: bytes) -> None:
        self._pool: ConnectionPool = client.connection_pool
        self._connection: Any = None
        self._key = key
        self._value = value
        self._is_sure = False
        """Whether the key had the value when it was begun to be watched."""

    def begin(self, command: Command) -> Any:
        """Watch the key, and return what a command answers, as it came."""
        self._is_sure = False
        answers = self._asked([("UNWATCH",), ("WATCH", self._key), ("GET", self._key), command])
        if isinstance(answers[-1], ResponseError):
            raise answers[-1]
        self._is_sure = answers[2] == self._value
        return answers[-1]

    def moved(self) -> None:
        """Note that the key was written to meanwhile, by whose it is: it is to be watched anew."""
        self._is_sure = False

    def commit(self, commands: Sequence[Command]) -> bool:
        """Do all of the commands, or none: False where the key has not the value any more."""
        if not self._is_sure:
            self.begin(("PING",))
            if not self._is_sure:
                return False
        self._is_sure = False
        answers = self._asked([("MULTI",), *commands, ("EXEC",)])
        done = answers[-1]
        for each in (*answers, *(done if isinstance(done, list) else ())):
            if isinstance(each, ResponseError):
                raise each
        return done is not None

    def _asked(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands at once; return their answers, faults among them."""
        connection = self._connected()
        answers: list[Any] = []
        try:
            sent = b"".join(connection.pack_commands(commands))  # one packet, not one of each 6 kB
            connection.send_packed_command([sent], check_health=False)
            for _ in commands:
                try:
                    answers.append(connection.read_response())
                except ResponseError as error:
                    answers.append(error)
        except BaseException:
            connection.disconnect()  # what is not read yet is nobody's answer
            raise
        return answers

    def _connected(self) -> Any:
        if self._connection is None:
            self._connection = self._pool.get_connection()
            weakref.finalize(self, _let_go, self._pool, self._connection)
        return self._connection


def pairs_of(entries: Sequence[Any]) -> list[Any]:
    """Return entries of a stream, as they came, as (id, fields); fields are none where it is gone.

    What is gone is what was trimmed.
    """
    return [
        (entry_id, dict(zip(fields[::2], fields[1::2], strict=True)) if fields else {})
        for entry_id, fields in entries
    ]


def _let_go(pool: ConnectionPool, connection: Any) -> None:
    connection.disconnect()  # nobody else is to inherit what it watches
    pool.release(connection)

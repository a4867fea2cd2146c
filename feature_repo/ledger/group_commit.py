"""Commands of many threads, durable together: one commit for whatever has come meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Thread

from feature_repo.ledger.commands import Command
from feature_repo.ledger.known import Outcome
from feature_repo.ledger.writer import COMMANDS_MAX, Writer
from lake.clock import Clock
from lake.errors import Unavailable, WrongUse

WAITING_MAX = 10_000
"""Commands that wait; one more is refused at once, so that nobody waits for minutes."""

TOGETHER_MAX = 10
"""Commands that are durable together or not at all, beyond what a batch makes so by chance."""

CLOSE_S_MAX = 10.0
BEAT_S = 1.0
"""A leader that has nothing to write is heard of so often."""

Waiting = tuple[Command, Future[Outcome]]


class GroupCommit:
    """One writer behind a queue; any thread may submit.

    lead: as of Writer, which is heard of every BEAT_S; taken here, so Fenced where another has it.
    """

    def __init__(self, dsn: str, clock: Clock, *, lead: str = "") -> None:
        self._writer = Writer(dsn, clock, leads=[lead] if lead else [], beats=bool(lead))
        self._beat_s = BEAT_S if lead else None
        if lead:
            self._writer.take_lead()
        self._waiting: Queue[Sequence[Waiting] | None] = Queue(WAITING_MAX)
        self._is_open = True
        self._thread = Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def submit(self, command: Command) -> Future[Outcome]:
        """Hand in a command; the future is done once it is durable or refused.

        It raises Unavailable where the server was away: give the same command again. Raises
        Unavailable itself when WAITING_MAX commands wait, or after close.
        """
        return self.submit_together([command])[0]

    def submit_together(self, commands: Sequence[Command]) -> list[Future[Outcome]]:
        """Hand in TOGETHER_MAX commands at most, for one transaction; see submit."""
        if len(commands) > TOGETHER_MAX:
            raise WrongUse("commands", f"are {len(commands)} together", f"give {TOGETHER_MAX}")
        if not self._is_open:
            raise Unavailable("ledger", "is closed", "start the service")
        futures: list[Future[Outcome]] = [Future() for _ in commands]
        try:
            self._waiting.put_nowait(list(zip(commands, futures, strict=True)))
        except Full:
            fault = f"{WAITING_MAX:,} commands wait"
            raise Unavailable("ledger", fault, "send fewer, or look at PostgreSQL") from None
        return futures

    @property
    def leads(self) -> bool:
        """Tell whether the lead is ours, as far as we have heard."""
        return self._writer.leads

    def leave(self) -> None:
        """Take nothing more, and end once what waits is done or refused; does not wait for it."""
        self._is_open = False
        with suppress(Full):
            self._waiting.put_nowait(None)

    def close(self) -> None:
        """Do what waits, then end."""
        self._is_open = False
        self._waiting.put(None)
        self._thread.join(CLOSE_S_MAX)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            found = self._next()
            if not found:
                self._writer.beat()
            is_last = None in found or not (found or self._is_open)
            self._commit([one for each in found if each is not None for one in each])
        self._writer.close()

    def _next(self) -> list[Sequence[Waiting] | None]:
        """Return what has come meanwhile; nothing after a leader's beat."""
        found: list[Sequence[Waiting] | None] = []
        size = 0
        try:
            found.append(self._waiting.get(timeout=self._beat_s))
            while size <= COMMANDS_MAX - 2 * TOGETHER_MAX:
                more = self._waiting.get_nowait()
                found.append(more)
                size += len(more or ())
        except Empty:
            pass
        return found

    def _commit(self, batch: list[Waiting]) -> None:
        if not batch:
            return
        try:
            outcomes = self._writer.commit([command for command, _ in batch])
        except Exception as error:  # whatever it is, whoever waits must hear of it
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            future.set_result(outcome)
